"""How hard a prompt looks: what `auto` chooses a model by.

Word patterns, decided in this order; the first that applies says it.

1. The answer is bound to be short ("in one word", "yes or no", "true or false"): SIMPLE, whatever it is about.
2. Programming ("code", "function", "algorithm", ...): COMPLEX.
3. It begins by asking for a translation or conversion "to" or "in" something: SIMPLE, whatever the rest says.
4. Analysis ("analyze", "compare", "evaluate"), reasons ("why", "explain", "describe ... in detail"), or a number of
   steps or reasons: COMPLEX.
5. A translation or conversion further on, a greeting and no more, or a short question that begins "what is" or
   "who is": SIMPLE.
6. Everything else: MODERATE.
"""

from __future__ import annotations

import enum
import re
from typing import Final

_HEAD: Final = 2_000
_TAIL: Final = 500
_SHORT: Final = 300
"""A question longer than this many characters is not a simple one, however it begins."""


class QueryComplexity(enum.Enum):
    """How hard a prompt looks, by the rules of this module: `simple`, `moderate` or `complex`."""

    SIMPLE = "simple"
    MODERATE = "moderate"
    COMPLEX = "complex"


# The text is in lower case. Every pattern is linear in it: no repetition stands within another, and none is unbounded
# unless it never gives back (`*+`).
_SHORT_ANSWER: Final = re.compile(
    r"""\b(?:
        (?:one|1|a\ single)[ -]word
      | (?:yes|no)(?:\s?/\s?|\s{1,3}or\s{1,3})(?:yes|no)
      | (?:true|false)(?:\s?/\s?|\s{1,3}or\s{1,3})(?:true|false)
      | (?:answer|reply|respond|say|just|only|simply)(?:\s{1,3}(?:with|only|just|simply))?
        \s{1,3}["'(]?(?:yes|no|true|false)
      | is\s{1,3}(?:it|this|that)\s{1,3}(?:true|false)
    )\b
    | \A\W*+(?:yes|no|true|false)\b(?=\W*+\Z|[,.!?])
    """,
    re.VERBOSE,
)
_PROGRAMMING: Final = re.compile(r"\b(?:cod(?:e|es|ed|ing)|programming|functions?|algorithms?|algorithmic)\b")
_CONVERT: Final = re.compile(r"\b(?:translat(?:e|es|ed|ing|ion)|convert(?:s|ed|ing)?)\b")
_TO: Final = re.compile(r"\b(?:to|into|in)\b")
_REASONING: Final = re.compile(
    r"""\b(?:
        analy[sz](?:e|es|ed|ing|is) | compar(?:e|es|ed|ing|ison|isons) | evaluat(?:e|es|ed|ing|ion|ions)
      | why | explain(?:s|ed|ing)? | explanations?
      | (?:\d{1,4}|two|three|four|five|six|seven|eight|nine|ten)[\s-]{1,3}(?:[a-z]{1,20}\s)?(?:steps?|reasons?)
    )\b""",
    re.VERBOSE,
)
_DESCRIBE: Final = re.compile(r"\bdescrib(?:e|es|ing)\b")
_IN_DETAIL: Final = re.compile(r"\bin (?:[a-z]{1,20} )?detail\b")
_GREETING: Final = re.compile(
    r"\W{0,10}(?:hi|hello|hey|good (?:morning|afternoon|evening))\b(?:\W{1,3}(?:there|everyone|all)\b)?\W{0,10}"
)
_PLEASE: Final = re.compile(r"\W{0,10}(?:(?:please|kindly|can|could|would|will|you)\b\W{0,3}){0,4}")
_QUESTION: Final = re.compile(r"\W{0,10}(?:what|who)(?:\s{1,3}(?:is|are|was|were)|['\u2019]?s)\b")


def classify(text: str) -> QueryComplexity:
    """How hard `text` looks. Takes time in proportion to its length up to 2,500 characters, and no more beyond.

    Of a longer text the first 2,000 and the last 500 characters are read: an instruction stands before or behind the
    material that it is about, and the words of a document pasted in between say nothing of what is asked.
    """
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    text = text.lower()
    if _SHORT_ANSWER.search(text):
        return QueryComplexity.SIMPLE
    if _PROGRAMMING.search(text):
        return QueryComplexity.COMPLEX
    conversion = _conversion(text)
    if conversion is not None and conversion == _beginning(text):
        return QueryComplexity.SIMPLE
    if _REASONING.search(text) or (_DESCRIBE.search(text) and _IN_DETAIL.search(text)):
        return QueryComplexity.COMPLEX
    if conversion is not None or _is_small(text):
        return QueryComplexity.SIMPLE
    return QueryComplexity.MODERATE


def _conversion(text: str) -> int | None:
    """Where the text speaks of translating or converting to (into, in) something; None when it does not.

    Two scans in place of one pattern with a gap in it: that would look for the "to" anew behind each verb.
    """
    verb = _CONVERT.search(text)
    return verb.start() if verb and _TO.search(text, verb.end()) else None


def _beginning(text: str) -> int:
    """Where the text begins once greeting and politeness are passed over."""
    return _end(_PLEASE.match(text, _end(_GREETING.match(text))))


def _is_small(text: str) -> bool:
    """Whether the text is a greeting and no more, or a short question for a fact."""
    greeted = _end(_GREETING.match(text))
    if greeted and greeted == len(text):
        return True
    return len(text) - greeted <= _SHORT and _QUESTION.match(text, greeted) is not None


def _end(found: re.Match[str] | None) -> int:
    return found.end() if found else 0
