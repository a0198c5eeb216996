"""Codes and their targets: as Waypost's tables, and as a map for everybody else."""

import random
from itertools import islice

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
SITE = "https://example.vn"
# Of a place's targets; the first is the default.
LANGUAGES = ("vi", "en", "zh")
# A street has 4 to 6 signs.
SIGNS_OF_A_PLACE = 5
# Codes that the load draws from; of more signs than that, a sample.
SAMPLE = 1_000_000
UNKNOWN = 20_000


def code(number):
    """The code of a number: 8 characters that look drawn at random, no two alike below 2^40."""
    bits = number * 0x9E3779B97F & 0xFFFFFFFFFF
    bits ^= bits >> 20
    return PAIRS[bits >> 30] + PAIRS[bits >> 20 & 1023] + PAIRS[bits >> 10 & 1023] + PAIRS[bits & 1023]


class Registry:
    """So many signs in a folder; the files are written when they are first asked for."""

    def __init__(self, folder, signs, signs_of_a_place=SIGNS_OF_A_PLACE, languages=LANGUAGES):
        self.folder, self.signs, self.signs_of_a_place, self.languages = folder, signs, signs_of_a_place, languages
        folder.mkdir(parents=True, exist_ok=True)

    def target(self, number, language="vi"):
        language = language if language in self.languages else "vi"
        return f"{SITE}/{language}/duong-pho/place-{number // self.signs_of_a_place}"

    def tables(self):
        """The folder with `places.csv` and `signs.csv`."""
        each = self.signs_of_a_place
        columns = ",".join(["target", *(f"target:{language}" for language in self.languages[1:])])
        self._write("places.csv", self._places(), f"place,kind,area,name,name:en,{columns}\n")
        rows = (f"{code(n)},p{n // each},active,21.85362,106.75757,2026-05-12\n" for n in range(self.signs))
        self._write("signs.csv", rows, "code,place,status,lat,lon,mounted\n")
        return self.folder

    def _places(self):
        for number in range(0, self.signs, self.signs_of_a_place):
            place = number // self.signs_of_a_place
            targets = ",".join(self.target(number, language) for language in self.languages)
            yield f"p{place},street,Phường Tam Thanh,Đường số {place},Street {place},{targets}\n"

    def map(self, end=""):
        """A file with a line `/CODE URL` for each sign; nginx wants a semicolon at its end."""
        lines = (f"/{code(number)} {self.target(number)}{end}\n" for number in range(self.signs))
        return self._write("map.conf" if end else "map", lines)

    def codes(self):
        """A file with the codes that are asked for."""
        numbers = range(self.signs)
        if self.signs > SAMPLE:
            numbers = random.Random(1).sample(numbers, SAMPLE)
        return self._write("codes", (f"{code(n)}\n" for n in numbers))

    def hot(self):
        """A file with one code."""
        return self._write("hot", [f"{code(self.signs // 2)}\n"])

    def unknown(self):
        """A file with codes that no sign has."""
        return self._write("unknown", (f"{code(n)}\n" for n in range(self.signs, self.signs + UNKNOWN)))

    def _write(self, name, lines, head=""):
        path = self.folder / name
        if not path.exists():
            lines = iter(lines)
            with open(path, "w", encoding="utf-8") as file:
                file.write(head)
                while chunk := "".join(islice(lines, 50_000)):
                    file.write(chunk)
        return path
