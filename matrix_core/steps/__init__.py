"""The steps of the method, in the order in which a scene first needs them."""

from matrix_core.steps import (
    action,
    consequence,
    critique,
    draft,
    feasibility,
    memory,
    plan,
    reaction,
    refinement,
    roles,
    routing,
    summary,
)
from matrix_core.steps.base import AnswerError, Step

STEPS: dict[str, Step] = {
    module.STEP.name: module.STEP
    for module in (
        draft,
        roles,
        plan,
        action,
        feasibility,
        routing,
        consequence,
        reaction,
        memory,
        summary,
        critique,
        refinement,
    )
}

__all__ = ["STEPS", "AnswerError", "Step"]
