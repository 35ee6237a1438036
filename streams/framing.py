"""What marks the records that this process publishes, as the settings say."""

from producers.schema_registry import registered_framing
from schemas.framing import Frame
from streams.settings import Settings


def frame_of(settings: Settings) -> Frame | None:
    """None where framing is off; else asks the registry. Raises SchemaRegistryError, NoGuidError."""
    url = settings.schema_registry_url
    return registered_framing(url.get_secret_value() if url else None, settings.schema_registry_framing)
