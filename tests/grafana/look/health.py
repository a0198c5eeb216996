"""Made rows of `sign_health`: what the nightly computation would have written.

The states follow the rule's formula with the plainest clock (every day counts the same), so that figures fit
together; groups and copies are put in by name. Nothing here is a test of the rule.
"""

import datetime

from history import DAY, local, text


def fill_health(store, history, database, days=30, reasons=("planned", "retired", "abroad", "burst")):
    """A computation each morning at four, the last one today."""
    signs = history.notable | {"burst": history.notable["busy"]}
    copied = {signs[reason]: reason for reason in reasons if reason in signs}
    copies = f"transform(code, {list(copied)}, {list(copied.values())}, '')"
    for ago in range(days - 1, -1, -1):
        four = int(local(history.now).replace(hour=4, minute=0, second=0, microsecond=0).timestamp()) - ago * DAY
        day = datetime.datetime.fromtimestamp(four, datetime.timezone(datetime.timedelta(hours=7))).date()
        store.do(f"""
INSERT INTO {database}.sign_health (edge, day, computed, code, state, since, per_day, expected, one_in, alarm_on, looks_copied, group_kind, group_name, ended_alarms, budget)
WITH
    fromUnixTimestamp64Milli(toInt64({four}) * 1000, 'UTC') AS computed,
    judged AS (
        SELECT sign.code AS code, sign.status AS status, sign.name AS name, sign.place AS place, sign.area AS area, sign.mounted AS mounted,
            nullIf(scanned.hours, 0) AS hours, scanned.last AS last,
            ifNull(hours, 0) / least(90, greatest(14, dateDiff('day', ifNull(mounted, toDate('1970-01-02')), toDate(computed)))) AS per_day,
            if(isNull(hours), 0, per_day * dateDiff('second', last, computed) / 86400) AS expected,
            pow(1 + expected / 10, 10) AS one_in,
            10 * (pow(greatest(30 * per_day / 0.005, 1), 0.1) - 1) / greatest(per_day, 0.001) AS days_to_alarm,
            multiIf(
                status != 'active', 'not_enough_data',
                dateDiff('day', ifNull(mounted, toDate('1970-01-02')), toDate(computed)) < 14, 'new',
                isNull(hours), 'never_scanned',
                days_to_alarm > 90, 'not_enough_data',
                expected > 0 AND 30 * per_day / one_in <= 0.005 AND dateDiff('day', last, computed) >= 3, 'silent',
                30 * per_day / one_in <= 0.05, 'quiet',
                'normal') AS state
        FROM {database}.signs_current AS sign
        LEFT JOIN (SELECT code, uniqExact(hour) AS hours, max(last) AS last FROM {database}.hours_by_sign
            WHERE hour >= toDateTime({four}) - INTERVAL 90 DAY AND hour < toDateTime({four}) GROUP BY code) AS scanned ON scanned.code = sign.code
    ),
    streets AS (SELECT place, countIf(state = 'silent') >= 3 AS closed FROM judged GROUP BY place),
    areas AS (SELECT area, countIf(state = 'silent') >= 2 AND countIf(state = 'silent') > 0.2 * count() AS dark FROM judged GROUP BY area)
SELECT 'edge-a', toDate({text(day)}), computed, code, state, if(isNull(hours), NULL, last), per_day, expected,
    if(isNull(hours) OR state = 'not_enough_data', NULL, one_in),
    if(isNull(hours) OR state = 'not_enough_data', NULL, toDate(last + INTERVAL toInt64(greatest(3, days_to_alarm) * 86400) SECOND, 'Asia/Ho_Chi_Minh')),
    {copies} AS looks_copied, multiIf(state != 'silent', '', dark, 'area', closed, 'street', '') AS kind_of_group,
    multiIf(kind_of_group = 'area', area, kind_of_group = 'street', name, ''), cityHash64(code) % 37 = 0, 0.005
FROM judged LEFT JOIN streets USING (place) LEFT JOIN areas USING (area)
WHERE status = 'active' OR looks_copied != ''""")
