"""Sentences of a Markdown document, without code, tables, headings and links' targets."""

import re
from collections.abc import Iterator

# Habits that make sentences hard to read, each with what to write instead.
BANNED = {
    r"\banew\b": "again",
    r"\bbeside\b": "next to",
    r"\b(go|goes|going|went) on\b": "continue, resume or train further",
    r"\btaken apart\b": "split, or measured",
    r"\bfirst weights\b": "initial weights",
    r"\b(that|those) of\b": "the noun itself",
    r"\b(its|their) own(?=[.,;:)]|$)": "the noun itself",
    r"\bof (its|their|one's) own\b": "leave it out, or say whose",
    r"\ball the same\b": "still, or leave it out",
    r"\b(is|are|was|were) drawn\b": "generated, or sampled",
    r"\bdoors?\b": "name the function or the exception",
    r"\blevers?\b": "ablation",
    r"\bshares? of\b": "fraction of",
    r"\bless (the|its|their|a)\b": "minus",
    r"\bsuch as it\b": "leave it out",
}
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|et al|Eq|Eqs|Fig|vs|cf|approx|No)\.")


def sentences(markdown: str) -> Iterator[str]:
    """Yields the sentences of paragraphs and list items, in order."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.S)
    text = re.sub(r"^ *(```|~~~).*?^ *\1 *$", "\n", text, flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->", "\n", text, flags=re.S)
    text = re.sub(r"^(?: {4,}|\t)(?![-*\d]).*$", "", text, flags=re.M)  # indented code
    text = re.sub(r"^\s*(\||#|:::|!!!|\?\?\?).*$", "\n", text, flags=re.M)  # tables, headings
    text = re.sub(r"!\[[^]]*\]\([^)]*\)(\{[^}]*\})?", "", text)
    text = re.sub(r"\[([^]]*)\](\([^)]*\)|\[[^]]*\])", r"\1", text)
    text = re.sub(r"`[^`\n]*(\n[^`\n]*)?`", "code", text)
    text = re.sub(r"<[^>]+>", " ", text)
    for block in re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.)\s+", text, flags=re.M):
        flat = _ABBREVIATIONS.sub(r"\1", " ".join((block or "").split()))
        for sentence in re.split(
            r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_]*[A-Z0-9code])|(?<=:)\s+(?=[A-Z])", flat
        ):
            if len(words(sentence)) > 1:
                yield sentence


def words(sentence: str) -> list[str]:
    """Words and numbers; `a-b` is one."""
    return re.findall(r"[A-Za-z0-9][\w'’.,%/+-]*", sentence)


def complaints(markdown: str) -> Iterator[str]:
    """Yields what the style forbids: idioms, long sentences, what-clauses as subjects."""
    for sentence in sentences(markdown):
        count = len(words(sentence))
        if count > 35:
            yield f"{count} words: {sentence}"
        for idiom, better in BANNED.items():
            if found := re.search(idiom, sentence, re.I):
                yield f"{found[0]!r} (write: {better}): {sentence}"
        if re.match(
            r"(What|How|Whether|Where|Who)\b[^?]*\b(is|are|was|has|have)\b[^?]*$", sentence
        ):
            yield f"a clause as the subject: {sentence}"
