"""Kafka's jars: resolved from Maven once, then found again without a network."""

import fcntl
import json
from pathlib import Path

KAFKA_VERSION = "4.3.0"

_KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Binds Kafka's slf4j to the log4j it brings; without it the broker writes no log at all. Resolved apart from Kafka:
# together, jgo lets log4j's bill of materials choose the version of Kafka's own client.
_LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"


class JarsMissingError(RuntimeError):
    """The jars are not on this machine and could not be fetched."""


def jar_cache() -> Path:
    """Where the jars stay between runs: one place per account, so every checkout shares them."""
    return Path.home() / ".cache" / "headrace"


def known_jars(cache: Path) -> tuple[Path, ...]:
    """The class path of an earlier run; empty when there was none or its files are gone."""
    try:
        jars = tuple(Path(line) for line in json.loads(_listing(cache).read_text()))
    except (OSError, ValueError):
        return ()
    return jars if all(jar.is_file() for jar in jars) else ()


def resolve_jars(cache: Path) -> tuple[Path, ...]:
    """The class path, fetched if need be (about 20 s, 44 MB). Safe to call from several processes at once."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "resolve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return known_jars(cache) or _fetch(cache)


def _fetch(cache: Path) -> tuple[Path, ...]:
    import jgo

    try:
        kafka = jgo.build(_KAFKA, cache_dir=cache / "jgo").path
        binding = jgo.build(_LOG_BINDING, cache_dir=cache / "jgo").path
    except Exception as error:  # jgo lets through whatever its HTTP and XML layers raise
        raise JarsMissingError(
            f"Kafka {KAFKA_VERSION} could not be fetched from Maven Central ({type(error).__name__}). "
            "Connect to a network once and run: headrace doctor"
        ) from error
    # jgo fills two folders, `jars` and `modules`, and lists only one of them as its class path.
    jars = sorted({*kafka.rglob("*.jar"), *binding.rglob("log4j-slf4j-impl-*.jar")})
    partial = _listing(cache).with_suffix(".partial")
    partial.write_text(json.dumps([str(jar) for jar in jars], indent=1))
    partial.replace(_listing(cache))
    return tuple(jars)


def _listing(cache: Path) -> Path:
    return cache / f"kafka-{KAFKA_VERSION}.json"
