"""What the model is asked for a request."""

from schemas.request import PromptRequest
from schemas.templates import template_named
from streams.model.port import ModelPrompt


def prompt_of(request: PromptRequest, model: str) -> ModelPrompt:
    """The prompt; a template is rendered, messages go as they came. Raises TemplateError."""
    system, messages = request.system, [turn.model_dump() for turn in request.messages or ()]
    if request.template is not None:
        rendered = template_named(request.template).render(request.variables)
        system, messages = rendered.system, [{"role": "user", "content": rendered.user}]
    return ModelPrompt(model, request.max_tokens, system, messages, str(request.request_id))
