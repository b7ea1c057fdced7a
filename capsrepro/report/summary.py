"""Sums a scale up in two plain sentences: one on the paper's claims, one on its numbers."""

from collections.abc import Mapping

from capsrepro.evidence import claims

_CLAIMS = {
    claims.HOLDS: "{} {hold}",
    claims.FAILS: "{} {do} not hold",
    claims.OPEN: "{} cannot be decided",
}
_NUMBERS = {
    "reproduced": "{} came out as in the paper",
    "better": "{} came out better",
    "missed": "{} came out worse",
    "inconclusive": "{} {are} undecided",
    "quick": "{} {have} no verdict, as the networks are narrow or the data are a part",
    "reduced width": "{} {have} no verdict, as the networks are narrow",
}
_BOTH = {"not run": "{} {were} not run", "other": "{} {have} no result that counts"}
_SAME = {"underpowered": "inconclusive", "stale": "other", "changed": "other", "not reached": "other"}


def sentences(judged: Mapping[str, int], numbers: Mapping[str, int]) -> tuple[str, ...]:
    """The two sentences; one where there are no claims.

    Args:
        judged: how many claims have each verdict.
        numbers: how many numbers have each verdict.
    """
    measured = {word: count for word, count in judged.items() if word != claims.PICTURES}
    told = []
    if measured:
        total = sum(measured.values())
        told.append(f"Of the paper's {total} claims that can be measured, {_listed(measured, _CLAIMS | _BOTH)}.")
    told.append(f"Of its {sum(numbers.values())} numbers, {_listed(numbers, _NUMBERS | _BOTH)}.")
    return tuple(told)


def _listed(counts: Mapping[str, int], phrases: Mapping[str, str]) -> str:
    found = dict.fromkeys(phrases, 0)
    for word, count in counts.items():
        found[_SAME.get(word, word)] += count
    parts = [_phrase(phrases[word], count) for word, count in found.items() if count]
    if len(parts) < 2:
        return parts[0]
    comma = "," if any("," in part for part in parts) else ""
    return f"{', '.join(parts[:-1])}{comma} and {parts[-1]}"


def _phrase(phrase: str, count: int) -> str:
    one = count == 1
    verbs = {"hold": ("hold", "holds"), "do": ("do", "does"), "are": ("are", "is"), "have": ("have", "has")}
    chosen = {name: pair[one] for name, pair in verbs.items()} | {"were": "was" if one else "were"}
    return phrase.format(count, **chosen)
