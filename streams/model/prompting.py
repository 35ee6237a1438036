"""What the model is asked for a request."""

from schemas.request import PromptRequest
from schemas.templates import template_named
from streams.model.port import ModelPrompt
from streams.model.prompt_marks import marked


def prompt_of(request: PromptRequest, model: str, *, marks: bool = True) -> ModelPrompt:
    """The prompt; a template is rendered, messages go as they came, their own cache marks included.

    With `marks` the provider is asked to keep what all prompts of a template share, where that is long enough. Raises
    TemplateError.
    """
    if request.template is None:
        turns = [turn.model_dump() for turn in request.messages or ()]
        return ModelPrompt(model, request.max_tokens, request.system, turns, str(request.request_id))
    template = template_named(request.template)
    rendered = template.render(request.variables)
    turns = [{"role": "user", "content": rendered.user}]
    prompt = ModelPrompt(model, request.max_tokens, rendered.system, turns, str(request.request_id))
    return marked(prompt, len(template.fixed_start)) if marks else prompt
