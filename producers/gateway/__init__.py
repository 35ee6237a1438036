"""The front door over HTTP: accepts requests for those who do not speak Kafka. Stateless; any number of copies.

Routes hold no rule of their own: each calls one service, built over ports that `streams/gateway_wiring.py` fills.
"""
