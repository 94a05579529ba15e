"""The whole line in memory: typed, planned, voted on, performed; and everything that may get in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot import catalog
from bot.adapters.sql.series import SqlSeries
from bot.domain.errors import StoreError
from bot.domain.operation import Asked, Proposed, State, StepEnded, VotedFor
from bot.flow.commands import dispatcher
from bot.flow.commands.queries import Core
from bot.flow.monitoring.monitor import Monitor
from bot.flow.operations import overdue
from bot.hookspecs import hookimpl
from bot.ports import Request
from bot.testing import Ending
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.waiting import until


def proposed(bot: Bot, line: str = "migrate web-1 to host-b") -> str:
    bot.types(line)
    return bot.value()


def test_a_typed_migration_is_proposed_approved_by_another_and_truly_done(bot: Bot) -> None:
    value = proposed(bot)
    assert bot.operation().state is State.PROPOSED
    assert bot.where("web-1") == ["host-a"]
    bot.clicks("op.approve", value, "UBRUNO")
    assert bot.operation().state is State.APPROVED
    bot.works()
    assert bot.operation().state is State.DONE
    assert bot.where("web-1") == ["host-b"]
    assert "Done" in str(bot.shown().title)


def test_the_proposal_shows_blast_radius_prediction_buttons_and_the_exact_command(bot: Bot) -> None:
    proposed(bot, 'migrate web-1 to host-b --reason "disk swap"')
    shown = text(bot.shown())
    assert "1 VM" in shown
    assert "about" in shown
    assert "disk swap" in shown
    assert "/kvm migrate web-1 to host-b" in shown
    assert bot.buttons() == ["op.approve", "op.deny", "op.details", "op.withdraw"]


def test_the_requesters_own_click_is_answered_and_counts_nothing(bot: Bot) -> None:
    value = proposed(bot)
    assert "does not count" in text(bot.clicks("op.approve", value, "UANA"))
    assert bot.operation().votes == ()


def test_an_approver_who_asked_needs_another_approver(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b", by="UBRUNO")
    assert "does not count" in text(bot.clicks("op.approve", bot.value(), "UBRUNO"))
    bot.clicks("op.approve", bot.value(), "UCARLA")
    assert bot.operation().state is State.APPROVED


def test_a_person_without_the_role_may_neither_ask_nor_approve(bot: Bot) -> None:
    assert "may not use" in text(bot.types("migrate web-1 to host-b", by="UGIL"))
    value = proposed(bot)
    assert "may not approve" in text(bot.clicks("op.approve", value, "UGIL"))
    assert bot.operation().votes == ()


def test_the_same_click_delivered_twice_has_one_effect(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO", key="click-1")
    assert bot.clicks("op.approve", value, "UBRUNO", key="click-1") is None
    votes = [event for event in bot.store.events("op-1") if isinstance(event, VotedFor)]
    assert len(votes) == 1


def test_a_second_approvers_click_is_told_who_was_first(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    answer = text(bot.clicks("op.approve", value, "UCARLA"))
    assert "already approved by" in answer
    assert "UBRUNO" in answer
    bot.works()
    assert bot.work.ids == []
    ends = [event for event in bot.store.events("op-1") if isinstance(event, StepEnded)]
    assert len(ends) == 1


def test_two_votes_are_two_different_people(bot: Bot) -> None:
    value = proposed(bot, "migrate web-1 to host-b --policy postcopy")
    assert bot.operation().ruling.votes == 2
    bot.clicks("op.approve", value, "UBRUNO")
    assert "already" in text(bot.clicks("op.approve", value, "UBRUNO"))
    assert bot.operation().state is State.PROPOSED
    bot.clicks("op.approve", value, "UCARLA")
    assert bot.operation().state is State.APPROVED


def test_a_click_on_another_plans_digest_is_refused(bot: Bot) -> None:
    proposed(bot)
    assert "not the one you saw" in text(
        bot.clicks("op.approve", "op-1:0000000000000000", "UBRUNO")
    )
    assert bot.operation().votes == ()


def test_a_click_after_expiry_is_refused_and_nothing_is_done(bot: Bot) -> None:
    value = proposed(bot)
    bot.clock.turn(601)
    assert "expired" in text(bot.clicks("op.approve", value, "UBRUNO"))
    assert bot.operation().state is State.EXPIRED
    bot.works()
    assert bot.where("web-1") == ["host-a"]


def test_the_clock_expires_a_proposal_and_tells_the_requester(bot: Bot) -> None:
    proposed(bot)
    bot.clock.turn(599)
    overdue.expire(bot.services)
    assert bot.operation().state is State.PROPOSED
    bot.clock.turn(2)
    overdue.expire(bot.services)
    assert bot.operation().state is State.EXPIRED
    assert any("Expired" in text(card) for card in bot.chat.cards_for("UANA"))


def test_denying_asks_why_and_tells_the_requester(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.deny", value, "UBRUNO", key="trigger-1")
    assert bot.chat.forms["trigger-1"].action == "op.deny"
    bot.answers("op.deny", value, "UBRUNO", why="not during the sale")
    assert bot.operation().state is State.DENIED
    assert any("not during the sale" in text(card) for card in bot.chat.cards_for("UANA"))


def test_only_the_requester_withdraws(bot: Bot) -> None:
    value = proposed(bot)
    assert "Only the person" in text(bot.clicks("op.withdraw", value, "UBRUNO"))
    bot.clicks("op.withdraw", value, "UANA")
    assert bot.operation().state is State.WITHDRAWN


def test_a_cluster_that_changed_means_nothing_is_done_and_a_new_plan_is_offered(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.hypervisor.change("host-b", memory=3 << 30)
    bot.works()
    assert bot.operation(1).state is State.STALE
    assert bot.where("web-1") == ["host-a"]
    assert any("room for" in text(card) for card in bot.chat.cards_for("UANA"))


def test_a_stale_plan_without_a_fixed_host_is_planned_anew_elsewhere(bot: Bot) -> None:
    bot.types("migrate web-1")
    first = bot.operation(1).plan.steps[0].hosts[1]
    bot.clicks("op.approve", bot.value(1), "UBRUNO")
    bot.hypervisor.change(first, memory=3 << 30)
    bot.works()
    again = bot.operation(2)
    assert again.replaces == "op-1"
    assert again.state is State.PROPOSED
    assert again.plan.steps[0].hosts[1] != first
    assert bot.clicks("op.approve", bot.value(1), "UCARLA") is not None
    assert bot.operation(1).state is State.STALE


def test_work_that_was_done_before_a_crash_is_found_done_and_not_repeated(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.hypervisor.end_next(Ending.ANSWER_LOST)
    bot.works()
    assert bot.operation().state is State.DONE
    assert [call[0] for call in bot.hypervisor.calls].count("migrate") == 1


def test_performing_twice_does_nothing_the_second_time(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.works()
    events = bot.store.events("op-1")
    bot.work.ids.append("op-1")
    bot.works()
    assert bot.store.events("op-1") == events
    assert [call[0] for call in bot.hypervisor.calls].count("migrate") == 1


def test_a_cancel_while_running_leaves_the_guest_where_it_was(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    pressed: list[object] = []

    def cancel(*_: object) -> None:
        if not pressed:
            pressed.append(bot.clicks("op.cancel", value, "UANA"))
        until(
            lambda: any(call[0] == "cancel_job" for call in bot.hypervisor.calls), "it is cancelled"
        )

    bot.hypervisor.during = cancel
    bot.works()
    assert bot.operation().state is State.CANCELLED
    assert bot.where("web-1") == ["host-a"]
    asked = [event for event in bot.store.events("op-1") if isinstance(event, Asked)]
    assert [event.by for event in asked] == ["UANA"]


def test_a_cancel_before_it_began_ends_it_at_once(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.clicks("op.cancel", value, "UANA")
    bot.works()
    assert bot.operation().state is State.CANCELLED
    assert bot.where("web-1") == ["host-a"]


def test_a_failed_migration_ends_failed_with_advice_and_can_be_proposed_again(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.hypervisor.end_next(Ending.FAILED)
    bot.works()
    assert bot.operation().state is State.FAILED
    assert bot.operation().advice
    assert bot.where("web-1") == ["host-a"]
    bot.clicks("op.again", value, "UANA")
    assert bot.operation(2).state is State.PROPOSED
    assert bot.operation(2).replaces == "op-1"


def test_a_guest_that_is_being_moved_cannot_be_asked_for_again(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    assert "op-1" in text(bot.types("migrate web-1 to host-c"))
    with pytest.raises(Exception, match="op-2"):
        bot.operation(2)


def test_moves_under_way_count_as_memory_on_their_target(bot: Bot) -> None:
    bot.hypervisor.change("host-b", memory=12 << 30)
    value = proposed(bot, "migrate web-1 to host-b")
    bot.clicks("op.approve", value, "UBRUNO")
    assert "1 VM already migrating there" in text(bot.types("migrate db-1 to host-b"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("migrate web-9 to host-b", "Did you mean “web-1”?"),
        ("migrate web-1 to host-x", "host-"),
        ("migrat web-1", "Did you mean `/kvm migrate web-1`?"),
        ("migrate", "/kvm migrate"),
        ("migrate web-1 to host-a", "host-a"),
        ("migrate off-1 to host-a", "off"),
        ("migrate web-1 --policy brave", "postcopy"),
        ('migrate web-1 --reason "half', "quote is not closed"),
        ("audit op-99", "op-99"),
        ("policy nothing", "no command"),
        ("migrate --help", "--policy"),
    ],
)
def test_a_slip_is_answered_with_what_to_do(bot: Bot, line: str, said: str) -> None:
    assert said in text(bot.types(line))
    assert bot.store.operations() == ()


@pytest.mark.parametrize(
    "line",
    ["help", "hosts", "vms", "vms env=prod", "ops", "approvals", "policy migrate", "why web-1"],
)
def test_every_reading_command_answers(bot: Bot, line: str) -> None:
    assert bot.types(line) is not None


def test_help_lists_what_this_person_may_do(bot: Bot) -> None:
    assert "need a role in Drover" in text(bot.types("help", by="UGIL"))
    assert "need a role in Drover" not in text(bot.types("help", by="UANA"))


def test_the_help_tells_a_large_family_in_one_line_and_its_own_help_each_member(
    tmp_path: Path,
) -> None:
    bot = small_bot(tmp_path, plugins=("migrate", "vm_lifecycle"))
    whole, family = text(bot.types("help")), text(bot.types("help vm"))
    bot.store.close()
    assert "/kvm vm …" in whole
    assert "See `/kvm help vm`" in whole
    assert "/kvm vm pause" not in whole
    assert "/kvm migrate" in whole
    assert "/kvm vm pause" in family
    assert "/kvm migrate" not in family


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("vm", "See `/kvm help vm`"),
        ("vm dance", "`vm` needs a subcommand"),
        ("host", "`host` needs a subcommand"),  # though `hosts` is but a letter away
        ("show", "Did you mean `/kvm show host`"),
        ("vm snapshot web-1", "`vm snapshot` needs a subcommand: create, delete, list, revert."),
        ("vm strat web-1", "Did you mean `/kvm vm start web-1`?"),
        ("migrat web-1", "Did you mean `/kvm migrate web-1`?"),
        ("xyzzy", "There is no command “xyzzy”. See all with `/kvm help`."),
    ],
)
def test_a_word_that_is_no_command_is_answered_with_the_nearest_or_with_how_it_goes_on(
    tmp_path: Path, typed: str, told: str
) -> None:
    bot = small_bot(tmp_path, plugins=("migrate", "vm_lifecycle", "host_check", "monitor"))
    said = bot.types(typed)
    bot.store.close()
    assert said is not None
    assert told in str(said.text)


@pytest.mark.parametrize(
    ("typed", "by", "told"),
    [
        ("web-1", "UANA", "Did you mean `/kvm vm show web-1`? See all with"),
        ("host-a status", "UANA", "Did you mean `/kvm show host host-a`? See all with"),
        ("status web-1", "UANA", "Did you mean `/kvm vm show web-1`? Usage: `/kvm status`"),
        ("top web-1", "UANA", "Did you mean `/kvm vm show web-1`? Usage:"),
        ("top host-a", "UANA", "Did you mean `/kvm top --host host-a`? Usage:"),
        ("vm disk web-1", "UANA", "Did you mean `/kvm vm disk add web-1` or `/kvm vm disk grow"),
        ("status web-1", "UNOBODY", "You may not use `status`."),
        ("status web-7", "UANA", "Unexpected word “web-7”. Usage: `/kvm status`"),
        ("chart web-1 cpu web-1", "UANA", "Unexpected word “web-1”. Usage:"),
        ("vm web-1", "UANA", "Did you mean `/kvm vm show web-1`? See `/kvm help vm`"),
        ("vm web-1 stop", "UANA", "Did you mean `/kvm vm shutdown web-1`? See"),
        ("web-1 restart", "UANA", "Did you mean `/kvm vm reboot web-1`? See all with"),
        ("web-1 ttl 7d", "UANA", "Did you mean `/kvm vm ttl web-1 7d`? See all with"),
        ("op-1 cancel", "UANA", "Did you mean `/kvm cancel op-1`? See all with"),
        ('status "web-1', "UANA", "A quote is not closed. Write for example"),
        ("op-1", "UANA", "Did you mean `/kvm details op-1`? See all with"),
        ("web-1", "UNOBODY", "There is no command “web-1”. See all with"),
        ("web-7", "UANA", "There is no command “web-7”. See all with"),
        ("help snapshot", "UNOBODY", "You may use none of these commands."),
    ],
)
def test_a_line_that_begins_with_a_name_leads_to_what_shows_it(
    tmp_path: Path, typed: str, by: str, told: str
) -> None:
    """The names are those measured last: no host is asked because of a slip."""
    bot = small_bot(tmp_path, plugins=("vm_lifecycle", "monitor"))
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    sampler = FakeSampler(bot.hypervisor, bot.clock)
    monitor = Monitor(sampler, series, series, bot.clock, replica="one")
    bot.services = replace(bot.services, monitor=monitor)
    assert "no command" in text(bot.types("web-1", by)), "before the first measurement"
    monitor.sweep()
    bot.hypervisor.refuse("snapshot", "It was asked.")
    said = bot.types(typed, by)
    assert said is not None
    assert told in str(said.text)
    series.close()
    bot.store.close()


def test_the_audit_trail_tells_who_did_what_and_that_it_holds(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.works()
    trail = text(bot.types("audit 1"))
    assert "UANA" in trail
    assert "UBRUNO" in trail
    assert "Audit trail intact" in trail


def test_a_host_that_does_not_answer_is_waited_for_and_never_taken_for_dead(bot: Bot) -> None:
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.hypervisor.down("host-b")
    bot.works()
    assert bot.operation().state in (State.STALE, State.FAILED)
    assert bot.where("web-1") == ["host-a"]


def test_a_message_that_could_not_be_updated_is_caught_up_with(bot: Bot) -> None:
    value = proposed(bot)
    bot.chat.fail("later", times=50)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.works()
    assert bot.operation().state is State.DONE
    assert "Done" not in str(bot.shown().title)
    bot.chat._failures.clear()
    bot.chat.flush()
    assert "Done" in str(bot.shown().title)


def test_a_message_whose_place_could_not_be_stored_is_not_lost_out_of_sight(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise StoreError("The database is locked.")

    with monkeypatch.context() as patched:
        patched.setattr(bot.store, "keep_copy", locked)
        value = proposed(bot)
        bot.clicks("op.approve", value, "UBRUNO")
        bot.works()
    assert bot.operation().state is State.DONE, "nobody waits for a message"
    assert bot.store.copies("op-1") == ()
    bot.services.messages.catch_up()
    (ref, *_) = bot.chat.messages
    assert "Done" in str(bot.chat.messages[ref].title)
    replies = [
        str(bot.chat.messages[each].text)
        for each, parent in bot.chat.threads.items()
        if parent == ref
    ]
    assert [each for each in replies if "Done: Move web-1" in each], "its thread is told as well"
    assert bot.store.copies("op-1") == (ref,)


def test_a_request_left_unhandled_by_a_crash_is_answered_once_after_the_start(bot: Bot) -> None:
    request = Request(
        "lost-1", "command", "UANA", bot.clock.now(), "COPS", "migrate web-1 to host-b"
    )
    assert bot.store.accept(request)
    (left,) = bot.store.pending_requests()
    dispatcher.handle(bot.services, left)
    dispatcher.handle(bot.services, left)
    assert bot.store.pending_requests() == ()
    proposals = [event for event in bot.store.events("op-1") if isinstance(event, Proposed)]
    assert len(proposals) == 1
    assert len(bot.store.operations()) == 1
    assert len(bot.chat.messages) == 1


def test_an_error_of_the_hypervisor_reaches_the_person_who_asked(bot: Bot) -> None:
    bot.hypervisor.refuse("snapshot", "the cluster cannot be read", "look at libvirtd")
    assert "the cluster cannot be read" in text(bot.types("vms"))


class Loud:
    """A plugin whose hook always fails."""

    @hookimpl
    def operation_changed(self, operation: object, event: object) -> None:
        raise RuntimeError("loud")


def test_a_failing_plugin_hook_stops_nobody(bot: Bot) -> None:
    loud = catalog.load(("migrate",), extra=(Core(), Loud()))
    bot.services = replace(bot.services, catalog=loud)
    value = proposed(bot)
    bot.clicks("op.approve", value, "UBRUNO")
    bot.works()
    assert bot.operation().state is State.DONE


@pytest.mark.parametrize("typed", ["help migrate", "migrate --help", "HELP Migrate"])
def test_help_of_one_command_is_whole_with_an_example(tmp_path: Path, typed: str) -> None:
    bot = small_bot(tmp_path, plugins=("migrate", "vm_lifecycle"))
    said = text(bot.types(typed))
    bot.store.close()
    assert "For example `/kvm migrate web-1 to host-b`" in said
    assert "--copy-storage" in said


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("help snapshot", ["vm snapshot create", "vm snapshot revert"]),
        ("help vm snapshot", ["vm snapshot create", "vm snapshot list"]),
        ("help stop", ["vm shutdown", "cancel"]),
        ("help balance", ["balance", "balance why"]),
    ],
)
def test_help_of_a_word_lists_what_it_is_about_with_examples(
    tmp_path: Path, typed: str, named: list[str]
) -> None:
    bot = small_bot(tmp_path, plugins=("migrate", "vm_lifecycle", "balance"))
    said = text(bot.types(typed))
    examples = [bot.services.catalog.commands[name].example for name in named]
    bot.store.close()
    assert all(f"/kvm {name}" in said for name in named)
    if typed != "help balance":
        assert all(f"For example `/kvm {each}`" in said for each in examples)
