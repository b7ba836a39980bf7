"""A project of journeys without commands, and an actor that types what their intents say."""

from __future__ import annotations

from tests.support.live_projects import Live

GIVEN = "hunter2-Given/by=environment"
SAVED = "s3cr3t-Saved-by-an-action"

# Types what the intent says, one command after the other; <> is the output of the one before.
ACTOR = r"""
    import json, os, sys

    for line in sys.stdin:
        with open("questions", "a") as file:
            file.write(line)
        asked = json.loads(line)
        assert os.environ["API_TOKEN"] and os.environ["DOGFOOD_WORKER"]
        number, commands = asked["step"]["number"], asked["step"]["intent"].split(" ;; ")
        seen = [one for one in asked["observations"] if one["step"] == number]
        last = asked["observations"][-1]["stdout"].strip() if asked["observations"] else ""
        if commands[0] == "endless":
            answer = {"command": "true " + str(len(seen))}
        elif len(seen) < len(commands) and commands[len(seen)] != "nothing":
            answer = {"command": commands[len(seen)].replace("<>", last), "note": "because"}
        else:
            answer = {"done": True}
        print(json.dumps(answer), flush=True)
"""
CONFTEST = """
    import pytest_dogfood

    def pytest_dogfood_gui_action(journey, step, observations):
        if observations:
            return pytest_dogfood.Done()
        return pytest_dogfood.Performed(what="click " + step.intent, stdout="saved as " + journey.id)

    def pytest_dogfood_judge(journey, step, actions):
        if step.expect == "judge: in other words":
            return pytest_dogfood.Verdict(passed="no")
        if step.expect.startswith("judge: "):
            if actions[-1].stdout == "answered\\n":
                return True
            return pytest_dogfood.Verdict(passed=step.expect == "judge: yes", why=actions[-1].stdout.strip())

    def pytest_dogfood_next_action(journey, step, observations):
        if step.intent == "ask a hook":
            return pytest_dogfood.Done() if observations else pytest_dogfood.Command("echo hooked")
        if step.intent == "a hook that raises":
            raise LookupError("nothing of the kind")
        if step.intent == "a hook that ends it all":
            raise SystemExit(2)
        if step.intent == "say nothing":
            return {"command": ""}
        if step.intent == "answer once":
            return None if observations else pytest_dogfood.Command("true")
        if step.intent == "ask in JSON":
            return {"done": True} if observations else {"command": "echo answered"}
        if step.intent == "a hook that babbles":
            return "ls"
"""
JOURNEYS = r"""
    defaults: {env: {HELLO: hello}}
    journeys:
      - id: goes-about
        establishes: [made]
        seed_files: {there.txt: "seeded\n"}
        steps:
          - intent: mkdir -p deep/er && cd deep/er ;; pwd ;; basename <>
            expect_cmd_re: ^basename
            expect: {stdout: {equals: "er\n"}}
            save: {name: {stdout: "(.+)"}}
            core: true
          - {intent: "basename $PWD ;; test -f ../../there.txt", core: true}
          - run: test "$name" = er && cat there.txt
            expect: {stdout: {equals: "seeded\n"}}
          - intent: test $name-$HELLO-<> = er-hello-seeded ;; echo made >"$DOGFOOD_STATE/made"
            core: true
          - {intent: pwd, cwd: deep, core: true, expect: {stdout: {matches: "/deep$"}, files: {er: true}}}
      - id: needs-it
        requires: [made]
        steps: [{intent: 'test $DOGFOOD_MADE_NAME = er && cat "$DOGFOOD_STATE/made"', expect: {stdout: made}}]
      - {id: needs-it-plainly, requires: [made], steps: [{run: 'test -f "$DOGFOOD_STATE/made"'}]}
      - {id: expects-failure, steps: [{intent: 'true ;; exit 9', expect_exit: 9}]}
      - {id: stumbles, steps: [{intent: 'echo broken >&2; exit 4'}, {intent: 'true'}]}
      - {id: decides-early, steps: [{intent: 'echo broken >&2; exit 4', core: true}, {intent: 'true'}]}
      - {id: never-gets-there, steps: [{intent: 'true'}, {intent: nothing}]}
      - id: is-credited
        steps:
          - intent: echo tagged ;; true
          - {intent: nothing, expect_cmd_re: tagged, expect: {stdout: tagged}}
      - id: repeats
        steps: [{intent: 'echo x >>"$DOGFOOD_ROOT/counted" ;; echo x >>"$DOGFOOD_ROOT/counted" ;; false'}]
      - {id: never-ends, steps: [{intent: endless, core: true}, {intent: 'true'}]}
      - {id: hangs, steps: [{intent: 'exec sleep 300'}]}
      - {id: goes-where-nothing-is, steps: [{intent: 'mkdir a && cd a && rmdir ../a ;; pwd'}]}
      - {id: speaks-python, steps: [{intent: 'print(6 * 7)', shell: python3, expect: {stdout: "42"}}]}
      - id: keeps-a-secret
        steps:
          - intent: 'printf "key=%s-%s\n" s3cr3t Saved-by-an-action; echo "$API_TOKEN"'
            save: {key: {stdout: "key=(.*)", secret: true}}
          - {intent: 'echo "$key" ;; test "$key" = "$(printf %s-%s s3cr3t Saved-by-an-action)"'}
      - {id: clicks, modality: gui, steps: [{intent: Save, expect: {stdout: saved as clicks}}, {run: 'true'}]}
      - {id: is-approved, steps: [{intent: echo red, expect: "judge: yes"}]}
      - {id: is-disapproved, steps: [{intent: echo blue, expect: "judge: no"}]}
      - {id: is-not-judged, steps: [{intent: echo green, expect: it is green, expect_state: and looks well}]}
      - {id: is-hooked, steps: [{intent: ask a hook, expect: {stdout: hooked}}]}
"""
TEST = """
    import pytest

    @pytest.mark.requires("made")
    def test_python(capabilities, dogfood_state):
        assert (capabilities["made"]["name"], (dogfood_state / "made").read_text()) == ("er", "made\\n")
"""
INI = """
    [pytest]
    dogfood_actor = python3 actor.py
    dogfood_secrets = API_TOKEN
    dogfood_actor_turns = 6
    dogfood_actor_action_timeout = 3
"""
FAILED = ("decides-early", "never-gets-there", "hangs", "is-disapproved")


def project(live: Live) -> Live:
    for name, text in {
        "actor.py": ACTOR,
        "conftest.py": CONFTEST,
        "a.journey.yaml": JOURNEYS,
        "test_it.py": TEST,
        "pytest.ini": INI,
    }.items():
        live.write(name, text)
    return live
