"""Prompts by name and version: a request names a template and gives its variables."""

from schemas.templates.config_review import CONFIG_REVIEW
from schemas.templates.network_config import NETWORK_CONFIG
from schemas.templates.template import RenderedPrompt, Template, TemplateError

TEMPLATES: dict[str, Template] = {template.reference: template for template in (NETWORK_CONFIG, CONFIG_REVIEW)}


def template_named(reference: str) -> Template:
    """The template `name@version`. Raises TemplateError with the names there are."""
    try:
        return TEMPLATES[reference]
    except KeyError:
        known = ", ".join(sorted(TEMPLATES))
        raise TemplateError("unknown_template", f"there is no template {reference}; known: {known}") from None


__all__ = ["TEMPLATES", "RenderedPrompt", "Template", "TemplateError", "template_named"]
