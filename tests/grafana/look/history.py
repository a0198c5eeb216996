"""A made history of scans, the same for the same seed, written by ClickHouse itself.

Python says who is scanned how much; ClickHouse draws the scans from
hashes of their number, so that 100 thousand and 50 million are made by the same words.
"""

import csv
import datetime
import random
from dataclasses import dataclass, field

ZONE = datetime.timezone(datetime.timedelta(hours=7))
DAY = 86400
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SCAN_COLUMNS = "ts, code, outcome, channel, lang, served, country, region, device, os, app, agent, repeat, edge, generation, batch, seq"

# How a thousand visitors are made up. Assumed, not measured: no province has published such figures.
VISITORS = [
    (785, "vi", "VN"),
    (60, "en", "VN"),
    (60, "zh", "CN"),
    (30, "en", ""),
    (20, "zh", "VN"),
    (15, "ko", "KR"),
    (5, "ko", "VN"),
    (6, "", "VN"),
    (2, "fr", "FR"),
    (2, "ja", "JP"),
    (15, "vi", ""),
]
AT_THE_GATE = [(620, "zh", "CN"), (30, "zh", ""), (300, "vi", "VN"), (30, "en", "VN"), (20, "ru", "RU")]
FROM_ABROAD = [(700, "zh", "CN"), (300, "vi", "VN")]
APPS = {
    "zh": [(600, "wechat"), (60, "alipay"), (200, "safari"), (40, "chrome"), (100, "qq")],
    "ko": [(300, "safari"), (300, "chrome"), (200, "samsung"), (200, "kakaotalk")],
    "en": [(480, "safari"), (450, "chrome"), (30, "whatsapp"), (40, "facebook")],
    "": [
        (380, "zalo"),
        (240, "safari"),
        (200, "chrome"),
        (70, "samsung"),
        (40, "facebook"),
        (30, "coccoc"),
        (20, "xiaomi"),
        (10, "tiktok"),
        (10, "other"),
    ],
}
HOURS = [2, 1, 1, 1, 1, 3, 9, 16, 22, 26, 27, 22, 18, 17, 22, 26, 28, 29, 31, 36, 34, 24, 12, 5]
CHANNELS = [(950, "qr"), (25, "nfc"), (25, "typed")]
AGENTS = [(930, "person"), (50, "bot"), (20, "prefetch")]


@dataclass
class Sign:
    """A sign of the registry, and how it is scanned."""

    code: str
    status: str
    place: dict
    lat: float | None
    lon: float | None
    mounted: datetime.date | None
    weight: float = 0.0
    until: int | None = None  # no scan after it (Unix time)
    mix: str = "usual"  # who comes: usual, gate, abroad
    festive: bool = False
    targets: dict = field(default_factory=dict)


@dataclass
class History:
    """Everything that the made days need, and what is worth looking at in them."""

    now: int
    days: int
    scans_a_day: float
    signs: list
    deleted: list  # codes that the registry had once
    notable: dict = field(default_factory=dict)
    seed: int = 7

    def midnights(self):
        """The start of each day in the province, the oldest first."""
        today = (self.now + 7 * 3600) // DAY * DAY - 7 * 3600
        return [today - ago * DAY for ago in range(self.days, -1, -1)]


def local(time):
    return datetime.datetime.fromtimestamp(time, ZONE)


def of_the_sample(config, now, days=150, scans_a_day=620):
    """The province's sample registry with some 100 thousand scans, and one of everything that can be wrong."""
    dice = random.Random(7)
    with open(config / "places.csv", encoding="utf-8") as file:
        places = {row["place"]: row for row in csv.DictReader(file)}
    streets = ["st001", "st002", "st003", "st005", "st011", "st013", "st017", "st019", "st022"]  # take most
    sights = {
        "pw002": 30,
        "re002": 12,
        "re003": 10,
        "sc001": 9,
        "sc002": 6,
        "pw003": 12,
        "gt001": 8,
        "re012": 9,
        "sc003": 4,
    }
    signs = []
    with open(config / "signs.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            place = places[row["place"]]
            key = row["place"]
            usual = 14 / (1 + streets.index(key) * 0.35) if key in streets else sights.get(key, 0.5)
            mounted = datetime.date.fromisoformat(row["mounted"]) if row["mounted"] else None
            sign = Sign(
                row["code"].replace("-", ""),
                row["status"],
                place,
                *(float(row[x]) if row[x] else None for x in ("lat", "lon")),
                mounted,
            )
            sign.weight = usual * dice.lognormvariate(0, 0.6)
            sign.mix = "gate" if key in ("gt001", "gt002", "gt003") else "abroad" if key == "re018" else "usual"
            sign.festive = key in ("re002", "re003", "pw001", "pw002")
            sign.targets = {
                tag: row[f"target:{tag}"] or place[f"target:{tag}"]
                for tag in ("en", "zh")
                if row[f"target:{tag}"] or place[f"target:{tag}"]
            }
            sign.targets["vi"] = row["target"] or place["target"]
            signs.append(sign)
    active = sorted((sign for sign in signs if sign.status == "active"), key=lambda sign: -sign.weight)
    for at, ago in [(4, 9), (23, 21), (41, 40), (60, 12)]:
        active[at].until = now - ago * DAY
    # A street that is closed, and the two signs of a commune.
    together = [sign for sign in active if sign.place["place"] == "st008" or sign.place["area"] == "Xã Bắc Sơn"]
    for sign in together:
        sign.weight, sign.until = 4.0, now - 12 * DAY
    rest = [sign for sign in active[68:] if sign not in together and sign.mix == "usual" and not sign.festive]
    never, rare, new, retired = rest[:6], rest[6:66], rest[66:69], [sign for sign in signs if sign.status == "retired"]
    for some, factor in ((never, 0), (rare, 0.05)):
        for sign in some:
            sign.weight *= factor
    for sign in new:
        sign.weight, sign.mounted = 0.3, local(now - 8 * DAY).date()
    for sign in signs:
        sign.weight = {"planned": 0.05, "retired": 1.2}.get(sign.status, sign.weight)
    # Silent for so long that some thirteen scans are missing: unusual, and no alarm yet.
    total = sum(sign.weight for sign in signs)
    for sign in active[62:68]:
        sign.until = now - int(13 / (sign.weight / total * scans_a_day) * DAY)
    first = {
        "busy": active[0],
        "silent": active[4],
        "quiet": active[62],
        "never": never[0],
        "rare": rare[0],
        "new": new[0],
        "street": together[0],
        "retired": retired[0],
    }
    first |= {
        "planned": next(sign for sign in signs if sign.status == "planned"),
        "abroad": next(sign for sign in signs if sign.mix == "abroad"),
    }
    notable = {word: sign.code for word, sign in first.items()}
    return History(now, days, scans_a_day, signs, ["DELETED1"], notable)


def of_a_province(config, now, signs, days, scans):
    """As many signs and scans as are asked for, spread over the sample's places; a few signs take most."""
    sample = of_the_sample(config, now)
    dice = random.Random(11)
    made = []
    for number in range(signs):
        like = sample.signs[number % len(sample.signs)]
        code = "".join(dice.choices(ALPHABET, k=8))
        mounted = local(now - dice.randint(100, 500) * DAY).date()
        sign = Sign(
            code,
            like.status if number < len(sample.signs) else "active",
            like.place,
            like.lat and like.lat + dice.gauss(0, 0.01),
            like.lon and like.lon + dice.gauss(0, 0.01),
            mounted,
            1 / (number + 5) ** 1.1 * dice.lognormvariate(0, 1),
            None,
            like.mix,
            like.festive,
            like.targets,
        )
        # One in fifty was never scanned, and one in fifty is silent now.
        if number % 50 == 49:
            sign.weight = 0.0
        if number % 50 == 24:
            sign.until = now - dice.randint(3, 60) * DAY
        made.append(sign)
    busy = max(made, key=lambda sign: sign.weight)
    silent = next(sign for sign in made if sign.until)
    # Weekends, growth, festivals and company make 1.43 scans of one.
    return History(now, days, scans / (days + 0.5) / 1.43, made, [], {"busy": busy.code, "silent": silent.code})


def text(value):
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def literal_map(values):
    return (
        "map(" + ", ".join(f"{text(key)}, {text(value)}" for key, value in values.items()) + ")" if values else "map()"
    )


def pick(weights, salt, column=1):
    """SQL that picks one of the values by the row's dice; the same salt picks the same row of `weights`."""
    total, sum_so_far, branches = sum(row[0] for row in weights), 0, []
    for row in weights[:-1]:
        sum_so_far += row[0]
        branches.append(f"cityHash64(dice, {salt}) % {total} < {sum_so_far}, {text(row[column])}")
    return f"multiIf({', '.join(branches)}, {text(weights[-1][column])})" if branches else text(weights[-1][column])


def by(column, cases, otherwise):
    return (
        "multiIf(" + ", ".join(f"{column} = {text(value)}, {sql}" for value, sql in cases.items()) + f", {otherwise})"
    )


def slots(signs, weight, count):
    """A list in which each sign stands as often as it is scanned: a random place of it is a random scan."""
    weighted = [(sign, weight(sign)) for sign in signs if weight(sign) > 0]
    total, so_far, list_ = sum(share for _, share in weighted), 0.0, []
    for sign, share in weighted:
        so_far += share
        # Each that is scanned at all stands once at least.
        list_ += [sign] * max(1, round(so_far / total * count) - len(list_))
    return list_


def fill_signs(store, history, database):
    """Two generations of the registry, the older with a sign that was deleted since."""
    for generation, ago in ((1, 100), (2, 30)):
        published = history.now - ago * DAY
        rows = []
        for sign in history.signs:
            place = sign.place
            status = "active" if generation == 1 and sign.status == "retired" else sign.status
            names = {tag: place[f"name:{tag}"] for tag in ("en", "zh") if place[f"name:{tag}"]}
            targets = {tag: target for tag, target in sign.targets.items() if tag != "vi"}
            # A sign of a place with a page of ours has none, and what its pages are in stands under `told`.
            languages = ["vi", *targets] if sign.targets["vi"] else []
            named, told, targeted = (
                [tag for tag in ("vi", "en", "zh") if place[column if tag == "vi" else f"{column}:{tag}"]]
                for column in ("name", "about", "target")
            )
            # A sign that was put up elsewhere since.
            lat = sign.lat and sign.lat + (0.0004 if generation == 1 and sign.code == history.notable["busy"] else 0)
            rows.append(
                f"('edge-a', {generation}, 1, {text(sign.code)}, {text(status)}, {text(place['place'])}, "
                f"{text(place['kind'])}, {text(place['area'])}, {text(place['name'])}, {literal_map(names)}, {lat or 'NULL'}, {sign.lon or 'NULL'}, "
                f"{text(sign.mounted) if sign.mounted else 'NULL'}, {text(sign.targets['vi'])}, {literal_map(targets)}, {languages}, "
                f"{text(place['namesake'])}, {named}, {told}, {targeted}, {text(place['compiled']) if place['compiled'] else 'NULL'})"
            )
            if generation == 1 and sign.code == history.notable["busy"]:
                rows += [rows[-1].replace(text(sign.code), text(code)) for code in history.deleted]
        store.do(
            f"INSERT INTO {database}.registry_signs (edge, generation, digest, code, status, place, kind, area, name, names, lat, lon, mounted, "
            f"target, targets, languages, namesake, named, told, targeted, compiled) VALUES {', '.join(rows)}"
        )
        store.do(
            f"INSERT INTO {database}.registry_generations VALUES "
            f"('edge-a', {generation}, 1, toDateTime64({published}, 3, 'UTC'), '', {len(rows)})"
        )


def fill_slots(store, history, database):
    """The lists that scans are drawn from, as a table for the joins."""
    store.do(
        f"CREATE OR REPLACE TABLE {database}.made_slots (crowd String, slot UInt32, code String, status String, mix String, zh UInt8, "
        "begin UInt32, until UInt32) ENGINE = Memory"
    )
    crowds = {"usual": lambda sign: sign.weight, "festival": lambda sign: sign.weight if sign.festive else 0}
    sizes = {}
    for crowd, weight in crowds.items():
        list_ = slots(history.signs, weight, 8192 if len(history.signs) < 1000 else 65536)
        sizes[crowd] = len(list_)
        rows = []
        for slot, sign in enumerate(list_):
            begin = (
                int(datetime.datetime.combine(sign.mounted, datetime.time(), ZONE).timestamp()) if sign.mounted else 0
            )
            rows.append(
                f"({text(crowd)},{slot},{text(sign.code)},{text(sign.status)},{text(sign.mix)},{int('zh' in sign.targets)},{begin},{sign.until or 4000000000})"
            )
        store.do(f"INSERT INTO {database}.made_slots VALUES {','.join(rows)}")
    return sizes


def day_of_scans(history, database, midnight, crowd, count, size, batch_size):
    """One day's scans of one crowd, as an INSERT."""
    weekend = local(midnight).weekday() >= 5
    hours = [(weight * (15 if weekend and 18 <= hour < 22 else 10), hour) for hour, weight in enumerate(HOURS)]
    retired_at = history.now - 30 * DAY
    mixes = {"gate": AT_THE_GATE, "abroad": FROM_ABROAD}
    language = by("mix", {mix: pick(rows, 1) for mix, rows in mixes.items()}, pick(VISITORS, 1))
    country = by("mix", {mix: pick(rows, 1, 2) for mix, rows in mixes.items()}, pick(VISITORS, 1, 2))
    app = by("lang", {tag: pick(rows, 3) for tag, rows in APPS.items() if tag}, pick(APPS[""], 3))
    return f"""
INSERT INTO {database}.scans ({SCAN_COLUMNS})
SELECT fromUnixTimestamp64Milli(toInt64(at) * 1000 + dice % 1000, 'UTC'), code, outcome, channel, lang,
    multiIf(outcome != 'found', '', lang = 'zh' AND zh, 'zh', lang IN ('vi', ''), 'vi', 'en'), country, '', 'phone',
    if(app = 'safari', 'ios', if(dice % 3 = 0, 'ios', 'android')) AS os, app, agent, repeat, 'edge-a', 2, batch, seq
FROM (
    SELECT dice, slots.code AS code, slots.zh AS zh, slots.begin AS begin, slots.until AS until,
        {language} AS lang, {country} AS country, {pick(CHANNELS, 2)} AS channel, {pick(AGENTS, 4)} AS agent,
        if(agent = 'bot', 'other', {app}) AS app,
        {midnight} + toUInt32({pick(hours, 5)}) * 3600 + cityHash64(dice, 6) % 3600 AS first,
        -- 7 % come back within seconds; 5 % are the first of a family or a class.
        cityHash64(dice, 7) % 1000 AS company,
        arrayJoin(range(multiIf(company < 70, 2, company < 120, 2 + dice % 3, 1))) AS one,
        one > 0 AND company < 70 AS repeat,
        first + multiIf(one = 0, 0, repeat, 1 + dice % 9, 10 + cityHash64(dice, 8, one) % 600) AS at,
        if(slots.status = 'retired' AND at >= {retired_at}, 'retired', 'found') AS outcome,
        reinterpretAsUUID(sipHash128({history.seed}, {midnight}, {text(crowd)}, intDiv(number, {batch_size}))) AS batch,
        toUInt32(number % {batch_size}) * 4 + one AS seq
    FROM (SELECT number, cityHash64({history.seed}, {midnight}, {text(crowd)}, number) AS dice,
            toUInt32(cityHash64(dice, 9) % {size}) AS slot FROM numbers({count})) AS drawn
    INNER JOIN (SELECT * FROM {database}.made_slots WHERE crowd = {text(crowd)}) AS slots ON slots.slot = drawn.slot
)
WHERE at >= begin AND at < least(until, {history.now})"""


def unknown_scans(history, database, midnight, count, batch_size):
    """Guessed codes, as an INSERT: one name each, from everywhere."""
    letters = ", ".join(f"substring('{ALPHABET}', 1 + cityHash64(dice, {salt}) % 32, 1)" for salt in range(20, 28))
    return f"""
INSERT INTO {database}.scans ({SCAN_COLUMNS})
SELECT fromUnixTimestamp64Milli(({midnight} + toInt64(cityHash64(dice, 5) % {DAY})) * 1000, 'UTC') AS at, concat({letters}), 'unknown',
    'qr', 'en', '', {pick([(5, ""), (3, "US"), (2, "CN")], 1)}, '', 'desktop', 'linux', 'other', {pick([(1, "person"), (1, "bot")], 2)}, false, 'edge-a', 2,
    reinterpretAsUUID(sipHash128({history.seed}, {midnight}, 'unknown', intDiv(number, {batch_size}))), toUInt32(number % {batch_size})
FROM (SELECT number, cityHash64({history.seed}, {midnight}, 'unknown', number) AS dice FROM numbers({count}))
WHERE at < fromUnixTimestamp({history.now})"""


def peculiar_scans(history, database):
    """A misprinted plate, one that nobody registered, a deleted one, slips of typing, and somebody who tries codes for two hours."""
    dice, now, rows = random.Random(3), history.now, []
    busy = history.notable["busy"]
    misprint = busy[:3] + ("K" if busy[3] != "K" else "M") + busy[4:]

    def some(code, count, oldest, youngest=0.0, channel="qr", agent="person", country="VN"):
        for _ in range(count):
            at = now - dice.uniform(youngest, oldest) * DAY
            rows.append(
                f"(fromUnixTimestamp64Milli({int(at * 1000)}, 'UTC'), {text(code() if callable(code) else code)}, {text(channel)}, {text(country)}, {text(agent)})"
            )

    def guess():
        return "".join(dice.choices(ALPHABET, k=8))

    def slip():
        code, at = dice.choice(history.signs).code, dice.randrange(8)
        return code[:at] + dice.choice("BCDFGHJK") + code[at + 1 :]

    some(misprint, 46, 25)
    some("WX7PLATE", 19, 12)
    for code in history.deleted:
        some(code, 12, 50)
    some(slip, 14, 85, channel="typed")
    some(guess, 420, 13.4, 13.3, country="")
    some(guess, 220, 13.4, 13.3, agent="bot", country="US")
    some(guess, 60, 90, country="CN")
    history.notable |= {"misprint": misprint, "unregistered": "WX7PLATE"}
    return f"""
INSERT INTO {database}.scans ({SCAN_COLUMNS})
SELECT ts, code, 'unknown', channel, 'vi', '', country, '', 'phone', 'android', 'zalo', agent, false, 'edge-a', 2,
    reinterpretAsUUID(sipHash128({history.seed}, 'peculiar', toYYYYMM(ts))), toUInt32(rowNumberInAllBlocks())
FROM VALUES('ts DateTime64(3, \\'UTC\\'), code String, channel String, country String, agent String', {", ".join(rows)})"""


def fill_scans(store, history, database, batch_size=40, guesses=3):
    """All days, one insert a day and crowd, as they would have come."""
    dice = random.Random(history.seed)
    sizes = fill_slots(store, history, database)
    midnights = history.midnights()
    for number, midnight in enumerate(midnights):
        day = local(midnight)
        count = history.scans_a_day * (0.85 + 0.35 * number / len(midnights)) * dice.lognormvariate(0, 0.09)
        count *= 1.45 if day.weekday() >= 5 else 1
        store.do(day_of_scans(history, database, midnight, "usual", int(count), sizes["usual"], batch_size))
        # Three days of a festival, two weeks ago, and the National Day.
        if number in range(len(midnights) - 17, len(midnights) - 14):
            store.do(
                day_of_scans(history, database, midnight, "festival", int(count * 1.4), sizes["festival"], batch_size)
            )
        if (day.month, day.day) in ((9, 1), (9, 2)):
            store.do(
                day_of_scans(history, database, midnight, "festival", int(count * 0.9), sizes["festival"], batch_size)
            )
        store.do(unknown_scans(history, database, midnight, guesses, batch_size))
    store.do(peculiar_scans(history, database))
    store.do(f"DROP TABLE {database}.made_slots")
