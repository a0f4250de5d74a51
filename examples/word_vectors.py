"""What does a program know about words that it has only read?

`word_vectors.py text.txt monday water`: reads a text with a sentence on each line (it
may be gzipped) and prints the words that stand in the same company as those given.
Without arguments it reads Python's help texts. On the Brown corpus (1.2 million words)
it takes some seconds, and finds the days of the week beside "monday".
"""

import re
import sys
from collections.abc import Iterator
from pydoc_data.topics import topics

from wyrm_py.models import SkipGram

WORD = re.compile(r"[a-z_]+")


def sentences(lines: list[str]) -> Iterator[list[str]]:
    """Return the words of each line, in lower case; none of them is kept in memory."""
    for line in lines:
        yield WORD.findall(line.lower())


def help_texts() -> list[str]:
    """Return the paragraphs of Python's help texts."""
    return [part for text in topics.values() for part in text.split("\n\n")]


def main(path: str | None = None, *words: str) -> None:
    """Learn vectors, and print the neighbours of some words."""
    model = SkipGram(width=32, epochs=5 if path else 15, random_state=0)
    model.fit(path or sentences(help_texts()))
    print(f"{model.counts_.sum():,} words, {len(model.words_):,} different ones")
    print(
        f"loss of a pair {' '.join(f'{x:.3f}' for x in model.history_.losses[::4])}\n"
    )
    for word in words or ("integer", "list", "except", "instance", "left"):
        found = model.similar(word, 5)
        print(f"{word:10}", *(f"{other:14}" for other in found.ids))


if __name__ == "__main__":
    main(*sys.argv[1:])
