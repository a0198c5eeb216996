"""Counts what `waypost coverage` counts, from the tables alone: another program, by the definitions in its help.

coverage.py PLACES SIGNS area|kind BEFORE prints {"rows": {group: counts}, "total": counts}, where counts are under the
names of the CSV's columns. The default language is vi, and all dates are written as 2026-03-14.
"""

import csv
import json
import sys
from collections import Counter

places_file, signs_file, by, before = sys.argv[1:]


def rows(file):
    with open(file, newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


places = {row["place"]: row for row in rows(places_file)}
groups, total = {}, Counter()


def add(place, *names):
    for counts in (groups.setdefault(place[by], Counter()), total):
        counts.update(names)


languages = {heading.split(":")[1] for row in places.values() for heading in row if ":" in heading}
for place in places.values():
    answer = "target" if place["target"] else "own_page" if place["about"] else "neither"
    add(place, "places", answer)
    for language in languages | {"vi"}:
        for name, column in [("named", "name"), ("told", "about"), ("targeted", "target")]:
            if place.get(column if language == "vi" else f"{column}:{language}"):
                add(place, f"{name}:{language}")
    if place["compiled"]:
        add(place, "compiled")
        if place["compiled"] < before:
            add(place, "older")
for sign in rows(signs_file):
    place, status = places[sign["place"]], sign["status"]
    add(place, {"planned": "planned", "active": "mounted", "retired": "retired"}[status])
    if status != "retired" and sign["lat"]:
        add(place, "position")
    if status == "active" and sign["mounted"]:
        add(place, "mounting_date")
print(json.dumps({"rows": groups, "total": total}))
