"""`headrace chaos`: the pipeline under load and under faults on real servers, then four books compared.

To add a fault: write `inject(stage, load)` in a module of `ops/chaos/faults/` and list a `Fault` in its `FAULTS`.
It runs on the main thread while the load goes on; wait with `stage.until` and `stage.wait` alone, since they restart
what died as a supervisor would. What it broke, `heal` mends; then lag must reach zero by itself.
"""
