"""A dashboard's file: its time range, its variables, its queries with the data source's macros expanded."""

import datetime
import json
import re

from history import ZONE

SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
COMMENT = re.compile(r"('(?:[^'\\]|\\.)*')|--[^\n]*|/\*.*?\*/", re.DOTALL)


def load(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def panels(dashboard):
    """All panels, those in collapsed rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def moment(text, now):
    """Unix time of `now`, `now-30d`, `now-30d/d`; of the units m, h, d and w."""
    back, unit, day = re.fullmatch(r"now(?:-(\d+)([mhdw]))?(/d)?", text).groups()
    time = datetime.datetime.fromtimestamp(now, ZONE) - datetime.timedelta(**{SPANS[unit or "m"]: int(back or 0)})
    return int((time.replace(hour=0, minute=0, second=0, microsecond=0) if day else time).timestamp())


def time_range(dashboard, now):
    return moment(dashboard["time"]["from"], now), moment(dashboard["time"]["to"], now)


def quoted(values):
    return ",".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)


def arguments(text):
    """The arguments of a macro and where its bracket closes; brackets in literals are not known, as with the plugin."""
    depth, start, found = 1, 0, []
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0 or letter == "," and depth == 1:
            found.append(text[start:at])
            start = at + 1
        if depth == 0:
            return found, at
    raise ValueError("a macro's bracket is not closed")


def expand(sql, start, end, values):
    """The query as ClickHouse gets it. `values`: a list of texts for each variable, or None for All."""
    macro = "$__conditionalAll("
    while macro in sql:
        before, after = sql.rsplit(macro, 1)
        (*condition, variable), close = arguments(after)
        shown = "1=1" if values.get(variable.strip().strip("${}")) is None else ",".join(condition)
        sql = before + shown + after[close + 1:]
    sql = re.sub(r"\$\{(\w+):(?:singlequote|sqlstring)\}", lambda match: quoted(values[match[1]] or []), sql)
    sql = COMMENT.sub(lambda match: match[1] or " ", sql)
    for pattern, instead in [
        (r"\$__timeFilter_ms\((.*?)\)", rf"\1 >= fromUnixTimestamp64Milli({start}000) AND \1 <= fromUnixTimestamp64Milli({end}000)"),
        (r"\$__timeFilter\((.*?)\)", rf"\1 >= toDateTime({start}) AND \1 <= toDateTime({end})"),
        (r"\$__dateFilter\((.*?)\)", rf"\1 >= toDate(toDateTime({start})) AND \1 <= toDate(toDateTime({end}))"),
        (r"\$__timeInterval\((.*?)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {max(1, (end - start) // 1000)} second)"),
        (r"\$__interval_s(\(\))?", str(max(1, (end - start) // 1000))),
        (r"\$__fromTime_ms(\(\))?", f"fromUnixTimestamp64Milli({start}000)"), (r"\$__toTime_ms(\(\))?", f"fromUnixTimestamp64Milli({end}000)"),
        (r"\$__fromTime(\(\))?", f"toDateTime({start})"), (r"\$__toTime(\(\))?", f"toDateTime({end})"),
        (r"\$\{?__from\}?", f"{start}000"), (r"\$\{?__to\}?", f"{end}000"),
    ]:
        sql = re.sub(pattern, instead, sql)
    if left := re.search(r"\$\{?\w+", sql):
        raise ValueError(f"left after expansion: {left[0]}")
    return sql


def choices(dashboard, chosen):
    """What each variable is set to, as `expand` takes it: what was asked for, else what the file opens with."""
    values = {}
    for variable in dashboard["templating"]["list"]:
        value = chosen.get(variable["name"], variable.get("current", {}).get("value", ""))
        value = value if isinstance(value, list) else [value]
        everything = variable.get("includeAll") and value in (["$__all"], [""], [])
        values[variable["name"]] = None if everything else value
    return values


def clickhouse(dashboard, ask, now, chosen):
    """The results of each panel by its id, and each variable's list. `ask` takes SQL."""
    start, end = time_range(dashboard, now)
    values, results, lists = choices(dashboard, chosen), {}, {}
    for variable in dashboard["templating"]["list"]:
        query = variable.get("query")
        if variable["type"] == "query" and isinstance(query, dict) and "rawSql" in query:
            answer = attempt(ask, query["rawSql"], start, end, values)
            lists[variable["name"]] = answer.get("data", [])
            if values[variable["name"]] in ([""], []) and answer.get("data"):
                values[variable["name"]] = [str(answer["data"][0][0])]
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            if "rawSql" in target:
                answer = attempt(ask, target["rawSql"], start, end, values)
                answer |= {"refId": target["refId"], "format": target.get("queryType", "table")}
                results.setdefault(str(panel["id"]), []).append(answer)
    return results, lists, values


def attempt(ask, sql, start, end, values):
    try:
        return ask(expand(sql, start, end, values))
    except (RuntimeError, ValueError, KeyError) as error:
        return {"error": str(error)[:600]}
