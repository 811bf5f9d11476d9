import functools
import logging

from odoo import models
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.http import request
from odoo.service import security

from ..core import transitions
from ..core.names import BadName

_logger = logging.getLogger(__name__)


class Conflict(UserError):
    """The request contradicts what is recorded or under way; answered with 409."""

    http_status = 409


def says_bad_names(method):
    """Turn a :class:`BadName` of the core into what Odoo shows and answers with 422."""

    @functools.wraps(method)
    def wrapped(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except BadName as error:
            raise UserError(str(error)) from error  # pylint: disable=missing-gettext

    return wrapped


def interactive_only(method):
    """Refuse a method outside a person's own browser session.

    API keys, ``/jsonrpc``, XML-RPC, crons and server actions have no session that is kept, and
    a bearer token counts as an API call even when a session cookie comes along.
    """

    @functools.wraps(method)
    def wrapped(self, *args, **kwargs):
        if not in_own_session(self.env):
            raise AccessError(
                self.env._("This decision is made in the web client: log in there and open what you decide on.")
            )
        return method(self, *args, **kwargs)

    return wrapped


def in_own_session(env):
    """Return whether the user does this themselves, logged in to the web client."""
    if not request or not request.session.can_save:
        return False
    # A proxy's own password (Basic) may stand in front of the web client; a bearer token is a program's.
    if request.httprequest.headers.get("Authorization", "").strip().lower().startswith("bearer"):
        return False
    return request.session.uid == env.uid and security.check_session(request.session, env)


class OdooopsStateMixin(models.AbstractModel):
    """One writer of ``state``, from a table of allowed moves."""

    _name = "odooops.state.mixin"
    _description = "State with allowed moves"

    _moves = {}

    def _update_state(self, target, **values):
        """Move to ``target`` where that is allowed and return the records that moved.

        A record that is there already is skipped; one that may not go there is refused with a
        warning in the log. Effects belong on the records returned only.
        """
        allowed = transitions.allowed_from(self._moves, target)
        moved = self.filtered(lambda record: record.state in allowed)
        for record in self - moved:
            if record.state != target:
                _logger.warning("Refused to move %s from %s to %s.", record, record.state, target)
        before = {record: record.state for record in moved}
        moved.write({"state": target, **values})
        moved._on_state_updated(before, target)
        return moved

    def _on_state_updated(self, before, target):
        """Follow up on the records that moved; ``before`` has their former states."""


class OdooopsProjectMixin(models.AbstractModel):
    """What belongs to a project is found, and refused, in one way."""

    _name = "odooops.project.mixin"
    _description = "Belongs to a project"

    def _sentence_of_missing(self, what, name):
        """Return the error for something that is not there, or not for this user."""
        return MissingError(
            self.env._(
                "There is no %(what)s %(name)s that you may see: check its name, or ask to be made "
                "a member of its project.",
                what=what,
                name=name,
            )
        )
