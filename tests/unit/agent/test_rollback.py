"""Ways back: which are open, why the others are not, and parts that vanish between the approval and the act."""

import json
from datetime import UTC, datetime

import pytest
from odooops_agent.errors import Permanent
from odooops_agent.facts import InstalledModule, KeptSet
from odooops_agent.planfile import read_plan_file, shown
from odooops_agent.plans.hashing import plan_hash, preview_hash
from odooops_agent.plans.loss import above_ceiling, counts, rank
from odooops_agent.protocol import (
    Ceiling,
    Limit,
    Loss,
    LossCount,
    RollbackPlanDocument,
    RollbackPreview,
    SetsResult,
    convert,
    plain,
)
from odooops_agent.testing.droplet import DATABASE, ENVIRONMENT, ENVIRONMENT_UUID, KEY, UUID, digest, image
from odooops_agent.testing.world import Outage, Scenario

from .oracle import check_kept, check_safe

INVOICES = LossCount(model="account.move", label="Journal Entry", created=2, changed=0, posted=1)
ORDERS = LossCount(model="sale.order", label="Sales Order", created=12, changed=4)


@pytest.fixture
def updated(deployed):
    """Production on release 3, which left a set of release 1; people have entered orders since."""
    assert deployed.deploy(3).outcome == "succeeded"
    deployed.world.databases[DATABASE].written = {one.model: one for one in (INVOICES, ORDERS)}
    return deployed


def ways(finish):
    """Return the previewed modes by name."""
    assert finish.error is None, finish.error
    return {one.mode: one for one in convert(finish.result, RollbackPreview).modes}


def snapshot(droplet):
    (name,) = [name for name in droplet.world.databases if "__s" in name]
    return name


# -- the preview


def test_a_preview_tells_every_way_what_it_costs_and_which_to_take(updated):
    finish = updated.preview(1)
    found = ways(finish)
    assert list(found) == ["code", "full", "backup", "fix_forward"]
    assert {mode: one.possible for mode, one in found.items()} == {
        "code": False,
        "full": True,
        "backup": False,
        "fix_forward": True,
    }
    assert "workshop 19.0.1.1.0 → 19.0.1.0.0" in found["code"].reason
    full = found["full"]
    assert full.plan == RollbackPlanDocument(
        environment=KEY,
        database_uuid=UUID,
        from_digest=digest(3),
        to_digest=digest(1),
        config_hash=full.plan.config_hash,
        mode="full",
        restore_set_token=updated.target(1)["token"],
        backup_snapshot=None,
        policy_version="3",
    )
    assert full.plan_hash == plan_hash(full.plan)
    assert full.preview_hash == preview_hash(full.plan_hash, full.loss)
    assert full.loss.counts == (INVOICES, ORDERS)
    assert finish.result["recommended"] == "full"
    assert (finish.result["running_digest"], finish.result["database_uuid"]) == (digest(3), UUID)


def test_a_preview_changes_nothing(updated):
    before = {name: (one.generation, one.mark) for name, one in updated.world.databases.items()}
    updated.world.calls.clear()
    updated.preview(1)
    reading = {"runtime.pull", "runtime.containers", "runtime.read_manifest", "proxy.upstream", "filestore.free_bytes"}
    reading |= {f"database.{verb}" for verb in ("facts", "free_bytes", "sessions", "sets", "count_loss", "exists")}
    assert set(updated.world.calls) <= reading | {"filestore.has_snapshot"}
    assert {name: (one.generation, one.mark) for name, one in updated.world.databases.items()} == before


def test_code_alone_is_open_where_no_module_goes_back_and_loses_nothing(deployed):
    assert deployed.deploy(2).outcome == "succeeded"
    found = ways(deployed.preview(1))
    assert found["code"].possible
    assert (found["code"].hold_seconds, found["code"].loss) == (0.0, None)
    assert "nothing is lost" in found["code"].reason
    assert not found["full"].possible
    assert "No restore set of v1.1.0" in found["full"].reason
    finish = deployed.go_back(1, "code")
    assert finish.outcome == "succeeded"
    assert (finish.result["restore_set"], finish.result["lost"], finish.result["held_seconds"]) == (None, None, 0.0)


def test_older_code_of_the_same_version_updates_the_module_once_more_and_keeps_what_people_entered(deployed):
    """The views in the database are the newer code's; without an update the older code would stumble over them."""
    deployed.world.images[digest(2)] = Scenario(image("19.0.1.0.0", "changed"), "one")
    assert deployed.deploy(2).outcome == "succeeded"
    deployed.world.databases[DATABASE].written = {"sale.order": ORDERS}
    found = ways(deployed.preview(1))
    assert found["code"].possible
    assert found["code"].hold_seconds > 0
    assert "updates workshop once more" in found["code"].reason
    finish = deployed.go_back(1, "code")
    assert finish.outcome == "succeeded"
    assert finish.result["restore_set"]["from_digest"] == digest(2)
    assert deployed.world.databases[DATABASE].written == {"sale.order": ORDERS}


def test_what_the_update_itself_wrote_is_no_loss(deployed):
    """The set is from before the update; what people could write came after it."""
    updating = []

    def before_call(call):
        if call == "runtime.run halfway":
            deployed.world.seconds += 60
            updating.append(deployed.world.now())

    deployed.world.before_call = before_call
    assert deployed.deploy(3).outcome == "succeeded"
    (copy,) = [one for one in deployed.world.databases.values() if one.mark]
    target = {**deployed.target(1), "taken_at": "2026-11-23T09:00:00Z"}
    shown = ways(deployed.preview(1, rollback={"restore_set": target}))["full"].loss
    assert shown.since == copy.mark.since.replace(microsecond=0)
    assert copy.mark.since > updating[0]
    copy.mark = KeptSet(copy.mark.token)  # of an older agent: then by the control plane's word
    shown = ways(deployed.preview(1, rollback={"restore_set": target}))["full"].loss
    assert shown.since == datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_no_way_back_is_told_with_its_reasons(updated):
    updated.world.databases.pop(snapshot(updated))
    finish = updated.preview(1, rollback={"restore_set": None})
    found = ways(finish)
    assert [mode for mode, one in found.items() if one.possible] == ["fix_forward"]
    assert finish.result["recommended"] == "fix_forward"
    assert "No way leads back" in found["fix_forward"].reason


def damage(updated, what):
    world, token = updated.world, updated.target(1)["token"]
    if what == "snapshot":
        world.databases.pop(snapshot(updated))
    elif what == "mark":
        world.databases[snapshot(updated)].tag = None
    elif what == "files":
        world.file_snapshots[KEY, token] = "half"
    elif what == "image":
        world.gone.add(digest(1))
    elif what == "manifest":
        world.images[digest(1)].manifest.addons.pop("workshop")


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("snapshot", "set_gone", "demo_prod__s14 is gone"),
        ("mark", "set_gone", "demo_prod__s14 is gone"),
        ("files", "set_gone", "(snapshots/14/filestore) are gone or not whole"),
        ("image", "image_gone", "no longer has"),
        ("manifest", "missing_modules", "lacks workshop"),
    ],
)
def test_what_vanished_closes_the_way_and_after_the_approval_stops_it_untouched(updated, what, code, says):
    operation = updated.going_back(1, "full")
    target = updated.target(1)
    damage(updated, what)
    finish = updated.preview(1, rollback={"restore_set": target})
    assert not ways(finish)["full"].possible
    assert says in ways(finish)["full"].reason
    updated.world.calls.clear()
    updated.workshop.take_on(operation)
    ended = updated.outcome(operation.id)
    assert (ended.outcome, ended.error.code) == ("failed", code)
    assert says in ended.error.message
    assert ended.result["reverted"]
    assert not any(call.startswith(("proxy.hold", "runtime.create", "database.swap")) for call in updated.world.calls)
    assert updated.world.answering(KEY).digest == digest(3)


@pytest.mark.parametrize(("what", "step"), [("snapshot", "swap_database"), ("files", "swap_filestore")])
def test_what_vanishes_under_the_hold_is_taken_back(updated, what, step):
    operation = updated.going_back(1, "full")
    target = updated.target(1)["token"]

    def before_call(call):
        if call == "database.count_loss":
            damage(updated, what)

    updated.world.before_call = before_call
    updated.workshop.take_on(operation)
    ended = updated.outcome(operation.id)
    assert (ended.outcome, ended.error.code, ended.error.step) == ("failed", "set_gone", step)
    updated.world.file_snapshots.pop((KEY, target), None)
    updated.world.databases.pop(f"{DATABASE}__s{target}", None)
    assert check_safe(updated, token=operation.token, sets={}) == digest(3)


def test_an_image_that_was_pruned_and_that_the_registry_has_is_fetched(updated):
    updated.world.pruned.add(digest(1))
    assert updated.go_back(1, "full").outcome == "succeeded"
    assert digest(1) not in updated.world.pruned


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"database_snapshot": "other_prod__s14"}, "is no snapshot of demo_prod"),
        ({"database_snapshot": "demo_prod"}, "do not belong together"),
        ({"database_snapshot": 'demo_prod"; --__s14'}, "is no snapshot of demo_prod"),
        ({"filestore_snapshot": "snapshots/../../etc"}, "do not belong together"),
        ({"filestore_snapshot": "snapshots/15/filestore"}, "do not belong together"),
        ({"digest": "sha256:" + "9" * 64}, "is of another release than v1.1.0"),
    ],
)
def test_a_set_that_does_not_belong_is_refused(updated, changes, says):
    found = ways(updated.preview(1, rollback={"restore_set": {**updated.target(1), **changes}}))
    assert not found["full"].possible
    assert says in found["full"].reason


# -- the act


def test_a_full_rollback_leaves_a_set_of_the_present_to_go_back_to(updated):
    given_up = dict(updated.world.databases[DATABASE].written)
    finish = updated.go_back(1, "full")
    assert finish.outcome == "succeeded"
    made = finish.result["restore_set"]
    assert (made["from_digest"], made["module_versions"]["workshop"]) == (digest(3), "19.0.1.1.0")
    assert made["database_snapshot"] == snapshot(updated)
    assert [one["model"] for one in finish.result["lost"]["counts"]] == ["account.move", "sale.order"]
    assert finish.result["mode"] == "full"
    assert 0 < finish.result["held_seconds"] < 45
    assert updated.world.databases[DATABASE].written == {}
    check_kept(updated)
    assert updated.go_back(3, "full").outcome == "succeeded"
    assert updated.world.databases[DATABASE].written == given_up
    assert updated.world.answering(KEY).digest == digest(3)
    check_kept(updated)


def test_the_next_release_goes_on_from_a_rollback(updated):
    assert updated.go_back(1, "full").outcome == "succeeded"
    finish = updated.deploy(3)
    assert finish.outcome == "succeeded"
    assert finish.result["restore_set"]["from_digest"] == digest(1)


def test_past_the_ceiling_it_is_undone_and_asks_again_with_a_fresh_preview(updated):
    operation = updated.going_back(1, "full")
    more = LossCount(model="account.move", label="Journal Entry", created=2, changed=0, posted=2)
    updated.world.databases[DATABASE].written["account.move"] = more
    updated.workshop.take_on(operation)
    finish = updated.outcome(operation.id)
    assert (finish.outcome, finish.error.code, finish.error.step) == ("failed", "loss_above_ceiling", "count_loss")
    assert "account.move 2 posted (1 approved)" in finish.error.message
    assert "back on sha256:33333333…" in finish.error.message
    anew = {one.mode: one for one in convert(finish.result["preview"], RollbackPreview).modes}["full"]
    assert anew.plan_hash == operation.plan_hash
    assert more in anew.loss.counts
    assert anew.preview_hash == preview_hash(anew.plan_hash, anew.loss)


def test_without_a_ceiling_whatever_is_lost_is_lost_and_told(updated):
    finish = updated.go_back(1, "full", rollback={"ceiling": None, "break_glass": True})
    assert finish.outcome == "succeeded"
    assert finish.result["lost"]["counts"][1]["created"] == 12


def test_a_preview_that_aged_is_refused_when_the_environment_moved_on(updated):
    operation = updated.going_back(1, "full")
    updated.world.images[digest(4)] = Scenario(image("19.0.1.2.0", "c"), "three")
    assert updated.deploy(4).outcome == "succeeded"
    updated.workshop.take_on(
        updated.operation("rollback", 1, plan_hash=operation.plan_hash, rollback=plain(operation.way_back))
    )
    finish = updated.outcome(updated._operations + 40)
    assert (finish.outcome, finish.error.code) == ("failed", "plan_changed")
    assert finish.result["preview"] is None


@pytest.mark.parametrize("found", [None, "11111111-2222-3333-4444-555555555555"])
def test_a_set_with_another_database_in_it_is_taken_back(updated, found):
    operation = updated.going_back(1, "full")
    target = updated.target(1)["token"]
    updated.world.databases[snapshot(updated)].uuid = found
    updated.workshop.take_on(operation)
    finish = updated.outcome(operation.id)
    assert (finish.error.code, finish.error.step) == ("identity_mismatch", "verify_restored")
    assert check_safe(updated, token=operation.token, sets={target: "one"}) == digest(3)


def test_a_set_without_odoo_or_of_another_release_is_taken_back(updated):
    for change, code in (
        (lambda one: one.modules.clear(), "set_gone"),
        (lambda one: setattr(one, "recorded_digest", digest(9)), "mode_impossible"),
    ):
        operation = updated.going_back(1, "full")
        copy = updated.world.databases[snapshot(updated)]
        before = dict(copy.modules), copy.recorded_digest
        change(copy)
        updated.workshop.take_on(operation)
        finish = updated.outcome(operation.id)
        assert (finish.error.code, finish.error.step) == (code, "verify_restored")
        copy = updated.world.databases[snapshot(updated)]
        copy.modules, copy.recorded_digest = before[0], before[1]


def test_the_identity_of_the_database_is_checked_before_anything(updated):
    operation = updated.going_back(1, "full")
    updated.world.databases[DATABASE].uuid = "another"
    updated.workshop.take_on(operation)
    assert updated.outcome(operation.id).error.code == "identity_mismatch"


def test_a_mode_that_this_agent_has_not_is_refused(updated):
    given = {"request": 7, "restore_set": updated.target(1)}
    for rollback, code in (
        ({**given, "mode": "backup"}, "mode_impossible"),
        ({**given, "mode": "backup", "backup": {"id": 3, "snapshot": "9f3a"}}, "mode_impossible"),
        ({**given, "mode": None}, "bad_message"),
        ({**given, "mode": "code"}, "backwards"),
    ):
        operation = updated.operation("rollback", 1, plan_hash="0" * 64, rollback=rollback)
        updated.workshop.take_on(operation)
        assert updated.outcome(operation.id).error.code == code


def test_a_bucket_of_another_tier_closes_every_way(updated):
    finish = updated.preview(1, environment={"bucket": "staging-demo"})
    assert [mode for mode, one in ways(finish).items() if one.possible] == ["fix_forward"]
    assert "staging-demo" in ways(finish)["full"].reason


def test_what_runs_already_is_no_way_back(deployed):
    found = ways(deployed.preview(1))
    assert not found["code"].possible
    assert "runs v1.1.0 already" in found["code"].reason


def test_a_studio_module_without_code_does_not_close_the_way(updated):
    """It was made in the database, so no image has it and none needs to."""
    updated.world.databases[DATABASE].modules["studio"] = InstalledModule("installed", "19.0.1.0", imported=True)
    finish = updated.go_back(1, "full")
    assert finish.outcome == "succeeded"
    versions = finish.result["restore_set"]["module_versions"]
    assert versions == {"base": "19.0.1.3", "workshop": "19.0.1.1.0"}
    target = {**updated.target(3), "module_versions": versions}
    assert updated.go_back(3, "full", rollback={"restore_set": target}).outcome == "succeeded"


# -- the ceiling


def loss(**of_sale_order):
    one = {"model": "sale.order", "label": "Sales Order", "created": 0, "changed": 0, **of_sale_order}
    return convert({"since": "2026-11-23T10:00:00Z", "minutes": 41.5, "counts": [one], "newest": []}, Loss)


@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        (loss(created=5), True),
        (loss(created=6), False),
        (loss(changed=2), True),
        (loss(changed=3), False),
        (loss(changed=None), False),
        (loss(posted=1), True),
        (loss(posted=2), False),
    ],
)
def test_a_ceiling_is_kept_to_by_each_of_its_numbers(found, allowed):
    ceiling = Ceiling(minutes=41.5, counts={"sale.order": Limit(created=5, changed=2)}, posted={"sale.order": 1})
    assert (above_ceiling(found, ceiling) == ()) is allowed


def test_a_ceiling_is_kept_to_in_minutes_and_by_models_it_does_not_name():
    assert above_ceiling(loss(), Ceiling(minutes=41.5)) == ()
    assert len(above_ceiling(loss(), Ceiling(minutes=41.4))) == 1
    assert above_ceiling(loss(), Ceiling(minutes=11)) == ("42 minutes (11 approved)",)
    assert above_ceiling(loss(created=1), Ceiling(minutes=60)) == ("sale.order 1 created (0 approved)",)


def test_changes_that_nobody_could_count_when_it_was_approved_are_not_counted_now():
    ceiling = Ceiling(minutes=60, counts={"sale.order": Limit(created=0, changed=None)})
    assert above_ceiling(loss(changed=None), ceiling) == above_ceiling(loss(changed=9), ceiling) == ()


def test_invoices_payments_and_moves_stand_first_and_the_program_s_own_notes_nowhere():
    models = ["workshop.order", "mail.message", "stock.move", "account.payment", "account.move", "sale.order"]
    assert sorted(models, key=rank) == [
        "account.move",
        "account.payment",
        "stock.move",
        "sale.order",
        "mail.message",
        "workshop.order",
    ]
    assert not any(counts(model) for model in ("ir.cron", "bus.bus", "res.users.log", "mail.notification"))
    assert all(counts(model) for model in ("ir.ui.view", "ir.rule", "base.automation"))
    assert all(counts(model) for model in ("ir.attachment", "res.users", "workshop.order", "irregular", "mail.message"))


# -- the check of sets


def check(droplet, *known):
    operation = droplet.operation("health", 3, sets=known)
    droplet.workshop.take_on(operation)
    finish = droplet.outcome(operation.id)
    return finish if finish.error else {one.token: one for one in convert(finish.result, SetsResult).sets}


def known_set(droplet):
    target = droplet.target(1)
    return {name: target[name] for name in ("token", "digest", "database_snapshot", "filestore_snapshot")}


def test_a_whole_set_is_restorable_and_its_image_kept(updated):
    known = known_set(updated)
    updated.world.kept_images.clear()
    updated.world.pruned.add(digest(1))
    assert check(updated, known)[known["token"]].restorable
    check_kept(updated)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("snapshot", "database snapshot demo_prod__s14 is gone"),
        ("mark", "database snapshot demo_prod__s14 is gone"),
        ("files", "gone or not whole"),
        ("image", "no longer has"),
    ],
)
def test_a_set_that_lost_a_part_says_which(updated, what, says):
    known = known_set(updated)
    damage(updated, what)
    found = check(updated, known)[known["token"]]
    assert not found.restorable
    assert says in found.reason


def test_a_set_whose_database_names_files_that_are_gone_says_which(updated):
    known = known_set(updated)
    number = int(snapshot(updated).rpartition("__s")[2])
    updated.world.file_snapshots[KEY, number] = "a part"
    found = check(updated, known)[known["token"]]
    assert (found.restorable, found.reason) == (
        False,
        f"files of one of its attachments' files are gone from snapshots/{number}/filestore.",
    )


def test_a_set_that_can_not_be_looked_into_is_no_lost_one(updated):
    known = known_set(updated)
    away = Permanent("It is being put in its place.")
    updated.world.before_call = Outage(away, lambda call: call == "database.set_files")
    assert check(updated, known)[known["token"]].restorable


def test_names_that_are_not_this_environments_are_never_restorable(updated):
    known = known_set(updated)
    for token, changes in enumerate(
        (
            {"database_snapshot": "other_prod__s14"},
            {"filestore_snapshot": "snapshots/../../etc"},
            {"digest": "latest"},
        ),
        100,
    ):
        assert not check(updated, {**known, **changes, "token": token})[token].restorable


def test_sets_are_not_judged_while_the_environment_is_being_changed(updated):
    known = known_set(updated)
    operation = updated.going_back(1, "full")
    found = []

    def before_call(call):
        if call == "database.swap renamed":
            updated.world.before_call = lambda call: None
            found.append(check(updated, known))

    updated.world.before_call = before_call
    updated.workshop.take_on(operation)
    assert found[0].error.code == "busy"
    assert updated.outcome(operation.id).outcome == "succeeded"


def test_a_kind_that_nobody_knows_is_refused(updated):
    operation = updated.operation("dance", 3)
    updated.workshop.take_on(operation)
    assert updated.outcome(operation.id).error.code == "bad_message"


# -- `odooops-agent plan FILE`

WORKSHOP = {"version": "19.0.1.0.0", "origin": "custom", "depends": ["base"], "hash": "a"}
FILE = {
    "operation": {
        "id": 57,
        "uuid": "b7c1f0aa-4d53-4a1e-9c63-1f5e2a7d8b34",
        "kind": "rollback",
        "token": 42,
        "environment": {**ENVIRONMENT, "database": {"name": DATABASE, "uuid": UUID}},
        "release": {"tag": "v1.0.0", "commit_sha": "a" * 40, "image": "localhost:5000/demo", "digest": digest(1)},
        "policy_version": "3",
        "rollback": {
            "request": 7,
            "mode": None,
            "restore_set": {
                "token": 17,
                "digest": digest(1),
                "database_snapshot": "demo_prod__s17",
                "filestore_snapshot": "snapshots/17/filestore",
                "taken_at": "2026-11-23T10:00:10Z",
                "module_versions": {"base": "19.0.1.3", "workshop": "19.0.1.0.0"},
            },
        },
    },
    "facts": {
        "environment": {
            "digest": digest(1),
            "image": {
                "series": "19.0",
                "commit_sha": "a" * 40,
                "uid": 10019,
                "gid": 10019,
                "addons_paths": ["/opt/odoo/addons/custom"],
                "addons": {"base": {"version": "19.0.1.3", "origin": "odoo"}, "workshop": WORKSHOP},
            },
            "database": {
                "name": DATABASE,
                "owner": DATABASE,
                "bytes": 71303168,
                "allows_connections": True,
                "tag": {"environment_uuid": ENVIRONMENT_UUID, "token": 17},
                "uuid": UUID,
                "modules": {
                    "base": {"state": "installed", "version": "19.0.1.3"},
                    "workshop": {"state": "installed", "version": "19.0.1.1.0"},
                },
                "recorded_digest": digest(2),
                "recorded": {},
                "languages": ["en_US"],
                "sessions": [],
            },
        },
        "restore_set": {"database": True, "filestore": True},
    },
}


def in_mode(mode):
    operation = {**FILE["operation"], "rollback": {**FILE["operation"]["rollback"], "mode": mode}}
    return json.dumps({**FILE, "operation": operation})


def test_a_file_without_a_mode_shows_every_way():
    given = {**FILE, "loss": {**plain(loss(created=3, changed=None)), "newest": []}}
    text = shown(read_plan_file(json.dumps(given)))
    assert "  code        closed" in text
    assert "→ full        open   Image, database and files of v1.0.0 as they were on 2026-11-23 10:00 UTC." in text
    assert "Sales Order: 3 created, changes not counted" in text


def test_a_file_with_a_mode_shows_its_steps():
    text = shown(read_plan_file(in_mode("full")))
    assert text.startswith("demo/prod: rollback (full), restore, plan ")
    assert "swap_database   (taken back by swap_database_back)" in text
    names = [step.name for step in read_plan_file(in_mode("full")).steps]
    assert names == [
        "prepare_environment",
        "claim_database",
        "create_web",
        "start_standby",
        "stop_cron",
        "preload_web",
        "hold_requests",
        "drain_requests",
        "stop_workers",
        "fence_database",
        "count_loss",
        "swap_database",
        "swap_filestore",
        "verify_restored",
        "open_database",
        "start_web",
        "warm_web",
        "release_requests",
        "start_cron",
        "publish_route",
        "drop_old_sets",
        "keep_images",
        "remove_old",
    ]


def test_a_table_that_was_counted_and_cant_be_any_more_stops_under_a_ceiling():
    now = loss(created=None, changed=None, uncounted="permission denied")
    (said,) = above_ceiling(now, Ceiling(minutes=60, counts={"sale.order": Limit(created=5)}))
    assert "permission denied" in said
    assert above_ceiling(now, Ceiling(minutes=60, counts={"sale.order": Limit(created=None, changed=None)})) == ()
    assert above_ceiling(now, Ceiling(minutes=60, counts={"*": Limit(created=None, changed=None)})) == ()


def counting_fails(droplet):
    error = Permanent("permission denied for table x", "missing_right")
    droplet.world.before_call = Outage(error, lambda call: call == "database.count_loss")


def test_a_loss_that_cant_be_counted_closes_no_way_back(updated):
    counting_fails(updated)
    full = ways(updated.preview(1))["full"]
    assert full.possible
    assert [(one.model, one.created, one.uncounted) for one in full.loss.counts] == [
        ("*", None, "permission denied for table x")
    ]


def test_without_a_ceiling_nothing_hangs_on_the_count(updated):
    operation = updated.going_back(1, "full", rollback={"ceiling": None})
    assert operation.way_back.ceiling is None
    counting_fails(updated)
    updated.workshop.take_on(operation)
    assert updated.outcome(operation.id).outcome == "succeeded"
