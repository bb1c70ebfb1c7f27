"""A pairwise comparison in all its figures: win rates, what they can tell, and what the judge went by besides the answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matrix_core import significance, statistics
from matrix_core.agreement import agreement, majority
from matrix_core.biases import VALUES, length_control, position_bias
from matrix_core.judging import Pair, Verdict


def figures(pairs: Sequence[Pair], panel: Mapping[str, Sequence[Verdict]], seed: int = 0) -> dict[str, Any]:
    """The figures of one rubric; `panel` has a verdict a pair from each judge, by the judge's name.

    What `statistics.win_rates` gives, with several judges for what most of them say, and: `win_rate_half_ties` with
    `ci95_half_ties` (50 % is no difference), clustered by prompt; `sign_test`, its exact p-value; `position_bias` and `length`;
    with several judges their `agreement` and each one's win rate in `judges`; where the interval can't tell the two apart
    `prompts_needed`; where pairs could not be judged `why_failed`, what went wrong most often.
    """
    votes = list(zip(*panel.values(), strict=True))
    verdicts = [vote[0] if len(vote) == 1 else majority(vote) for vote in votes]
    out = statistics.win_rates(verdicts, seed)
    if errors := Counter(verdict.error for verdict in verdicts if verdict.error):
        out["why_failed"] = errors.most_common(1)[0][0]
    judged = [(pair, verdict.outcome) for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.outcome]
    values = [VALUES[outcome] for _, outcome in judged]
    prompts = [pair.instruction for pair, _ in judged]
    rate = statistics.widened(significance.clustered_mean(values, prompts, seed), len(set(prompts)), 0.0, 1.0) if judged else None
    out["win_rate_half_ties"], out["ci95_half_ties"] = rate and rate.value, rate and rate.ci95
    out["sign_test"] = significance.sign_test(out["win"], out["lose"])
    out["position_bias"] = position_bias([verdict for vote in votes for verdict in vote])
    out["length"] = length_control(
        [outcome for _, outcome in judged], [len(pair.base) for pair, _ in judged], [len(pair.tuned) for pair, _ in judged]
    )
    if judged and rate and not significance.decided(rate.ci95, 0.5):
        out["prompts_needed"] = significance.prompts_needed([2 * value - 1 for value in values])
    if len(panel) > 1:
        out["agreement"] = agreement([[verdict.outcome for verdict in verdicts] for verdicts in panel.values()])
        out["judges"] = {name: _by_one(verdicts, seed) for name, verdicts in panel.items()}
    return out


def _by_one(verdicts: Sequence[Verdict], seed: int) -> dict[str, Any]:
    rates = statistics.win_rates(verdicts, seed)
    return {key: rates[key] for key in ("n", "win", "tie", "lose", "failed", "win_rate", "ci95")} | {
        "position_bias": position_bias(verdicts)
    }
