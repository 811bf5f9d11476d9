"""Who has to approve what, and why a decision is refused."""

from dataclasses import dataclass, field

UNDECIDED = "awaiting_approval"


@dataclass(frozen=True)
class Person:
    """The one who decides.

    ``stands_for`` is whoever named them for the time away, None when they decide for themselves;
    ``in_group`` and ``on_project`` are then that one's.
    """

    id: int
    name: str
    in_group: bool
    on_project: bool
    stands_for: int | None = None

    def people(self):
        """Return the ids of all whose voice this would be."""
        return frozenset((self.id, self.id if self.stands_for is None else self.stands_for))


@dataclass(frozen=True)
class Question:
    """What is to be decided: one deployment with one plan, or one rollback with one preview.

    ``authors`` are the ids of those who asked for it or wrote the release;
    ``approved_by`` are the ids of those who approved this very plan hash, ``spoken_for`` of those for whom they did;
    ``first`` and ``second`` are those among them of the two groups that both have to agree, ``second`` None when
    one group is enough, and ``groups`` are the names of both;
    ``document`` is what they read, by its name, and ``unread`` are the states in which there is none yet.
    """

    name: str
    state: str
    state_label: str
    plan_hash: str
    policy_current: bool
    authors: frozenset = frozenset()
    approved_by: frozenset = frozenset()
    spoken_for: frozenset = frozenset()
    needed: int = 1
    first: frozenset = frozenset()
    second: frozenset | None = None
    groups: str = ""
    group_name: str = "release manager"
    project: str = ""
    document: str = "plan"
    renewal: str = "plan it again"
    unread: tuple = ("draft",)
    facts: dict = field(default_factory=dict)


def refusal(question, person, plan_hash):
    """Return the sentence that refuses this person's decision, or None when they may decide."""
    if question.state != UNDECIDED:
        return (
            f"{question.name} is {question.state_label.lower()}: it can't be decided any more."
            if question.state not in question.unread
            else f"{question.name} has no {question.document} yet: wait for the agent's {question.document}, "
            "then decide."
        )
    if not person.in_group or not person.on_project:
        return (
            f"{person.name} may not decide on {question.name}: ask a {question.group_name} "
            f"of project {question.project}."
        )
    if person.id in question.approved_by:
        return f"{person.name} has approved this {question.document} already: another person has to."
    if person.people() & (question.approved_by | question.spoken_for):
        return f"That voice of {person.name} counts already, given by or for another: a third person has to approve."
    if not plan_hash or plan_hash != question.plan_hash:
        return (
            f"The {question.document} of {question.name} has changed since you saw it: reload it, "
            f"read the new {question.document} and decide again."
        )
    return None


def approval_refusal(question, person, plan_hash):
    """Return the sentence that refuses this person's approval, or None."""
    sentence = refusal(question, person, plan_hash)
    if sentence:
        return sentence
    if person.id in question.authors:
        return f"{person.name} asked for {question.name} or wrote it: another person has to approve."
    if person.people() & question.authors:
        return f"Whom {person.name} stands in for asked for {question.name} or wrote it: another person has to approve."
    if not question.policy_current:
        return f"The approval policy changed after {question.name} was planned: {question.renewal}."
    return None


def distinct(votes):
    """Return the votes in which nobody is heard twice, neither themselves nor through whom they named.

    :param votes: pairs of who decided and for whom, in the order in which they did
    """
    heard, kept = set(), []
    for vote in votes:
        if heard.isdisjoint(vote):
            kept.append(vote)
            heard.update(vote)
    return kept


def missing(question):
    """Return what is missing although people approved, None when nothing is."""
    counted = question.approved_by - question.authors
    if len(counted) < question.needed:
        left = question.needed - len(counted)
        return f"{left} more {'person has' if left == 1 else 'people have'} to approve."
    if question.second is None:
        return None
    first, second = counted & question.first, counted & question.second
    if first and second and len(first | second) > 1:
        return None
    return f"Two people of different groups have to approve: {question.groups}."


def is_approved(question):
    """Tell whether enough different people approved the current plan."""
    return missing(question) is None
