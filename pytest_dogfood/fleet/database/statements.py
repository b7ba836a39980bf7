"""The SQL of a fleet's board. Each may be sent twice; `%(run)s` is the run, `%(me)s` the machine that asks.

What changes a run first updates its row, and is alone from there on: each statement after that sees all that was
committed before. Everything asks whether the machine is still `here`.
"""

from __future__ import annotations

_MOMENT = "to_char({} AT TIME ZONE 'UTC', 'DD Mon HH24:MI \"UTC\"')"

_IS_HERE = "EXISTS (SELECT FROM fleet_machines WHERE run = %(run)s AND machine = %(me)s AND state = 'here')"
_HERE = "(SELECT machine FROM fleet_machines WHERE run = %(run)s AND state = 'here')"
_IS_ALONE = f"(SELECT count(*) FROM {_HERE} AS here WHERE machine <> %(me)s) = 0"

LOCK = """
UPDATE fleet_runs SET news = news + 1, changed = now() WHERE run = %(run)s RETURNING news
"""

MY_STATE = """
SELECT state FROM fleet_machines WHERE run = %(run)s AND machine = %(me)s
"""

RUN = """
SELECT news, stopped, closed IS NOT NULL FROM fleet_runs WHERE run = %(run)s
"""

# Joining.

BEGIN_RUN = """
INSERT INTO fleet_runs (run, agreement) VALUES (%(run)s, %(agreement)s) ON CONFLICT DO NOTHING RETURNING run
"""

FORGET_OLD = """
WITH old AS (DELETE FROM fleet_runs WHERE run IN (SELECT run FROM fleet_runs
        WHERE changed < now() - interval '30 days' ORDER BY changed LIMIT 10 FOR UPDATE SKIP LOCKED) RETURNING run),
    machines AS (DELETE FROM fleet_machines WHERE run IN (SELECT run FROM old)),
    units AS (DELETE FROM fleet_units WHERE run IN (SELECT run FROM old)),
    ends AS (DELETE FROM fleet_ends WHERE run IN (SELECT run FROM old))
DELETE FROM fleet_tokens WHERE run IN (SELECT run FROM old)
"""
"""Each new run deletes more old ones than it adds, and not so many that it would have to wait for long."""

LOCK_TO_JOIN = f"""
UPDATE fleet_runs SET news = news + 1 WHERE run = %(run)s
RETURNING agreement, {_MOMENT.format("closed")}, {_MOMENT.format("changed")},
    extract(epoch FROM clock_timestamp() - changed)::double precision
"""
"""Joining is no change of which the age of a run is counted: a job that is run again may ask how old its run is."""

_MAY_JOIN = """
EXISTS (SELECT FROM fleet_runs WHERE run = %(run)s AND agreement = %(agreement)s AND closed IS NULL)
"""

ADD_UNITS = f"""
INSERT INTO fleet_units (run, unit) SELECT %(run)s, unit FROM json_array_elements_text(%(units)s::json) AS unit
WHERE {_MAY_JOIN} AND (SELECT count(*) FROM fleet_units WHERE run = %(run)s) < %(number)s
ON CONFLICT DO NOTHING
"""
"""As JSON, because an array of so many texts takes both sides much longer."""

ADD_MACHINE = f"""
INSERT INTO fleet_machines (run, machine, host, workers)
SELECT %(run)s, %(me)s, %(host)s, %(workers)s WHERE {_MAY_JOIN} ON CONFLICT DO NOTHING
"""

MACHINES = """
SELECT machine, host, workers, beats, state, fails FROM fleet_machines WHERE run = %(run)s ORDER BY machine
"""

_UNITS = """
SELECT unit, machine, attempt, current, lost_in, lost_on, losses, done FROM fleet_units WHERE run = %(run)s
"""

UNITS = f"{_UNITS} ORDER BY unit"

HELD_UNITS = f"{_UNITS} AND machine <> '' AND NOT done ORDER BY unit"

IS_FINISHED = """
SELECT EXISTS (SELECT FROM fleet_units WHERE run = %(run)s)
    AND NOT EXISTS (SELECT FROM fleet_units WHERE run = %(run)s AND NOT done)
"""

_ENDS = """
SELECT nodeid, unit, attempt, outcome, result, {record}, next, machine, news, place FROM fleet_ends
WHERE run = %(run)s AND news > %(seen)s
"""
"""In no order: a server would sort thousands of results on its disk, for each machine. `rows.read_ends` sorts them."""

ENDS = _ENDS.format(record="''::bytea")
"""Without the records of the items, which only a report needs."""

# A turn.

CARRY_RECORDS = """
SELECT length(set_config('dogfood.records', (%(records)b::bytea[])::text, true))
"""
"""Records may be large. This comes before the lock, so that a slow line has brought them before others have to wait."""

BEGIN_TURN = """
UPDATE fleet_machines SET turn = %(turn)s, fails = %(fails)s::text[]
WHERE run = %(run)s AND machine = %(me)s AND state = 'here' AND turn <= %(turn)s RETURNING turn
"""
"""A turn that waited for the row, while its machine lost the connection and sent newer ones, changes nothing."""

_IS_MY_TURN = """
EXISTS (SELECT FROM fleet_machines
    WHERE run = %(run)s AND machine = %(me)s AND state = 'here' AND turn = %(turn)s)
"""

ADD_ENDS = f"""
INSERT INTO fleet_ends (run, nodeid, news, place, machine, unit, attempt, outcome, result, record, next)
SELECT %(run)s, e.nodeid, r.news, e.place, %(me)s, e.unit, e.attempt, e.outcome, e.result, e.record, e.next
FROM unnest(%(nodeids)s::text[], %(units)s::text[], %(attempts)s::integer[], %(outcomes)s::text[],
    %(results)b::bytea[], current_setting('dogfood.records')::bytea[], %(nexts)s::text[])
    WITH ORDINALITY AS e (nodeid, unit, attempt, outcome, result, record, next, place)
JOIN fleet_units u ON u.run = %(run)s AND u.unit = e.unit AND u.machine = %(me)s AND u.attempt = e.attempt
JOIN fleet_runs r ON r.run = %(run)s AND r.closed IS NULL
WHERE NOT u.done AND {_IS_MY_TURN}
ORDER BY e.place
ON CONFLICT DO NOTHING
"""

GO_ON = """
UPDATE fleet_units u SET current = last.next, done = (last.next = '')
FROM (SELECT DISTINCT ON (unit) unit, next FROM fleet_ends
    WHERE run = %(run)s AND machine = %(me)s AND news = (SELECT news FROM fleet_runs WHERE run = %(run)s)
    ORDER BY unit, place DESC) AS last
WHERE u.run = %(run)s AND u.unit = last.unit
"""
"""Only ends that are new in this turn count: those that are sent again are older than where the unit is."""

TAKE = f"""
UPDATE fleet_units SET machine = %(me)s, attempt = attempt + 1,
    current = (%(firsts)s::text[])[array_position(%(offers)s::text[], unit)]
WHERE run = %(run)s AND unit = ANY(ARRAY(
        SELECT unit FROM fleet_units
        WHERE run = %(run)s AND unit = ANY(%(offers)s::text[]) AND machine = '' AND NOT done
        ORDER BY array_position(%(offers)s::text[], unit)
        LIMIT greatest(0, %(idle)s - (SELECT count(*) FROM fleet_units
            WHERE run = %(run)s AND machine = %(me)s AND NOT done AND unit <> ALL(%(knows)s::text[])))))
    AND {_IS_MY_TURN}
    AND EXISTS (SELECT FROM fleet_runs WHERE run = %(run)s AND stopped = '' AND closed IS NULL)
"""
"""Of arrays, not joins: PostgreSQL knows nothing of a table that was filled a moment ago, and joins it badly."""

REFUSED = """
SELECT e.nodeid FROM unnest(%(nodeids)s::text[], %(attempts)s::integer[])
    WITH ORDINALITY AS e (nodeid, attempt, place)
WHERE (e.nodeid, e.attempt) NOT IN (SELECT nodeid, attempt FROM fleet_ends
    WHERE run = %(run)s AND nodeid = ANY(%(nodeids)s::text[]) AND machine = %(me)s)
ORDER BY e.place
"""

POLL = """
SELECT r.news, r.stopped, r.closed IS NOT NULL,
    ARRAY(SELECT unit FROM fleet_units WHERE run = %(run)s AND unit = ANY(%(aside)s::text[])
        AND machine = '' AND NOT done ORDER BY unit),
    u.unit, u.machine, u.attempt, u.current, u.lost_in, u.lost_on, u.losses, u.done
FROM fleet_runs r
LEFT JOIN fleet_units u ON u.run = r.run AND u.machine = %(me)s AND NOT u.done
WHERE r.run = %(run)s ORDER BY u.unit
"""
"""The run, the units that are free again, and in each row a unit of the machine, if it has one: all at one time."""

RUN_RECORD = """
UPDATE fleet_machines SET record = %(record)b WHERE run = %(run)s AND machine = %(me)s RETURNING machine
"""

STOP = f"""
UPDATE fleet_runs SET stopped = %(why)s WHERE run = %(run)s AND stopped = '' AND {_IS_HERE}
"""

# Machines.

BEAT = """
UPDATE fleet_machines SET beats = beats + 1, seen_at = now()
WHERE run = %(run)s AND machine = %(me)s AND state = 'here' RETURNING beats
"""

DECLARE_LOST = f"""
UPDATE fleet_machines SET state = 'lost', lost_at = now()
WHERE run = %(run)s AND machine = %(other)s AND beats = %(beats)s AND state = 'here' AND {_IS_HERE}
"""

FREE_UNITS = f"""
UPDATE fleet_units SET machine = '', current = '', losses = losses + 1,
    lost_in = lost_in || current, lost_on = lost_on || machine
WHERE run = %(run)s AND machine <> '' AND NOT done AND machine NOT IN {_HERE} AND {_IS_HERE}
"""
"""It looks at what is: a machine that was lost while it took units holds them, whatever was done before."""

GIVE_BACK = """
UPDATE fleet_units SET machine = '', current = '' WHERE run = %(run)s AND machine = %(me)s AND NOT done
    AND EXISTS (SELECT FROM fleet_machines WHERE run = %(run)s AND machine = %(me)s AND state = 'left')
"""

STATE_OF = """
SELECT state FROM fleet_machines WHERE run = %(run)s AND machine = %(other)s
"""

LOST_UNITS = f"""
{_UNITS} AND lost_on <> '{{}}' ORDER BY unit
"""

LOST_AFTER = """
SELECT machine, extract(epoch FROM lost_at - joined)::double precision FROM fleet_machines
WHERE run = %(run)s AND lost_at IS NOT NULL ORDER BY machine
"""

LEAVE = f"""
UPDATE fleet_machines SET state = 'left' WHERE run = %(run)s AND machine = %(me)s AND state = 'here'
    AND NOT ({_IS_ALONE} AND EXISTS (SELECT FROM fleet_tokens WHERE run = %(run)s AND ours))
"""

# Tokens. A holder is MACHINE/WORKER.

_COLUMNS = "token, state, holder, by, ours, values, message, tried_on, lost_on, used_by, changes"

TOKEN = f"""
SELECT {_COLUMNS} FROM fleet_tokens WHERE run = %(run)s AND token = %(token)s
"""

TOKENS = f"""
SELECT {_COLUMNS} FROM fleet_tokens WHERE run = %(run)s ORDER BY token
"""

RELEASING = f"""
SELECT {_COLUMNS} FROM fleet_tokens
WHERE run = %(run)s AND ours AND state = 'releasing' AND holder = %(holder)s ORDER BY made DESC, token
"""

RELEASE = f"""
UPDATE fleet_tokens SET state = 'releasing', holder = %(holder)s, changes = changes + 1
WHERE run = %(run)s AND ours AND state <> 'releasing' AND {_IS_HERE} AND {_IS_ALONE}
"""

ADD_TOKEN = f"""
INSERT INTO fleet_tokens (run, token) SELECT %(run)s, %(token)s WHERE {_IS_HERE} ON CONFLICT DO NOTHING
"""

HOLD = f"""
UPDATE fleet_tokens SET holder = %(holder)s, changes = changes + 1
WHERE run = %(run)s AND token = %(token)s AND holder = '' AND state <> 'releasing' AND changes = %(changes)s
    AND {_IS_HERE} AND NOT EXISTS (SELECT FROM fleet_machines
        WHERE run = %(run)s AND machine = %(me)s AND %(holder)s = ANY(dead_workers))
"""

_MADE = "made = CASE WHEN {ours} AND NOT ours THEN (SELECT news FROM fleet_runs WHERE run = %(run)s) ELSE made END"

BEGIN = f"""
UPDATE fleet_tokens SET state = 'coming', ours = true, changes = changes + 1, {_MADE.format(ours="true")}
WHERE run = %(run)s AND token = %(token)s AND holder = %(holder)s AND changes = %(changes)s AND {_IS_HERE}
"""

SETTLE = f"""
UPDATE fleet_tokens SET holder = '', state = %(state)s, by = %(by)s, ours = %(ours)s, values = %(values)s,
    message = %(message)s, tried_on = %(tried_on)s::text[], lost_on = %(lost_on)s::text[],
    changes = changes + 1, {_MADE.format(ours="%(ours)s")}
WHERE run = %(run)s AND token = %(token)s AND holder = %(holder)s AND changes = %(changes)s AND {_IS_HERE}
"""

USE = f"""
UPDATE fleet_tokens SET used_by = used_by || %(me)s::text
WHERE run = %(run)s AND token = %(token)s AND %(me)s <> ALL(used_by) AND {_IS_HERE}
"""

END_USE = f"""
UPDATE fleet_tokens SET used_by = array_remove(used_by, %(me)s::text)
WHERE run = %(run)s AND token = %(token)s AND {_IS_HERE}
"""

FORGET = f"""
UPDATE fleet_tokens SET state = 'absent', values = '', message = '', tried_on = '{{}}', lost_on = '{{}}',
    changes = changes + CASE holder WHEN '' THEN 1 ELSE 0 END
WHERE run = %(run)s AND token = %(token)s AND state IN ('held', 'failed') AND changes = %(changes)s AND {_IS_HERE}
"""
"""A worker that holds it only to ask its probe settles it, too: `changes` stays then."""

_END_HOLD = """
UPDATE fleet_tokens SET holder = '', changes = changes + 1,
    lost_on = CASE WHEN state = 'coming' AND NOT EXISTS (SELECT FROM fleet_machines m WHERE m.run = %(run)s
        AND m.machine = split_part(holder, '/', 1) AND m.state = 'left')
        THEN lost_on || split_part(holder, '/', 1) ELSE lost_on END,
    state = CASE WHEN state IN ('coming', 'releasing') THEN 'absent' ELSE state END
WHERE run = %(run)s AND holder <> ''
"""

NOTE_DEATH = """
UPDATE fleet_machines SET dead_workers = dead_workers || %(holder)s::text
WHERE run = %(run)s AND machine = %(me)s AND state = 'here' AND %(holder)s <> ALL(dead_workers)
"""

END_HOLDS = f"{_END_HOLD} AND holder = %(holder)s AND {_IS_HERE}"

FREE_TOKENS = f"{_END_HOLD} AND split_part(holder, '/', 1) NOT IN {_HERE}"

FREE_USES = f"""
UPDATE fleet_tokens SET used_by = ARRAY(SELECT name FROM unnest(used_by) AS name WHERE name IN {_HERE})
WHERE run = %(run)s AND NOT used_by <@ ARRAY{_HERE}
"""

# From outside.

CLOSE = f"""
UPDATE fleet_runs SET closed = now()
WHERE run = %(run)s AND closed IS NULL AND {_IS_ALONE}
"""

WHOLE_RUN = f"""
SELECT agreement, {_MOMENT.format("begun")}, extract(epoch FROM begun)::double precision,
    {_MOMENT.format("changed")}, stopped, {_MOMENT.format("closed")}
FROM fleet_runs WHERE run = %(run)s
"""

ENDS_AND_RECORDS = _ENDS.format(record="record")

RUN_RECORDS = """
SELECT machine, record FROM fleet_machines WHERE run = %(run)s AND record IS NOT NULL ORDER BY machine
"""

JOINED = """
SELECT m.machine, extract(epoch FROM m.joined - r.begun)::double precision FROM fleet_machines m
JOIN fleet_runs r USING (run) WHERE run = %(run)s ORDER BY m.machine
"""

ENDED = """
SELECT e.nodeid, extract(epoch FROM e.ended - r.begun)::double precision FROM fleet_ends e
JOIN fleet_runs r USING (run) WHERE run = %(run)s ORDER BY e.news, e.place
"""

SILENT_FOR = """
SELECT machine, extract(epoch FROM clock_timestamp() - seen_at)::double precision FROM fleet_machines
WHERE run = %(run)s ORDER BY machine
"""

RUNS = f"""
SELECT run, {_MOMENT.format("begun")},
    (SELECT count(*) FROM fleet_machines m WHERE m.run = r.run AND state = 'here'),
    (SELECT count(*) FROM fleet_machines m WHERE m.run = r.run),
    (SELECT count(*) FROM fleet_units u WHERE u.run = r.run AND done),
    (SELECT count(*) FROM fleet_units u WHERE u.run = r.run),
    stopped, {_MOMENT.format("closed")}
FROM fleet_runs r ORDER BY begun DESC, run
"""
