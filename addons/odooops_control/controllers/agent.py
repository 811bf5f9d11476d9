import json

import werkzeug.exceptions

from odoo import fields, http
from odoo.http import request

from ..core import names, protocol
from ..errors import abort

_BODY_BYTES = 4 * 1024 * 1024
# One mail of 3 MB is 4 MB in base64 already.
_MAILS_BYTES = 8 * 1024 * 1024


def _agent_route(name, limit_bytes=_BODY_BYTES):
    return http.route(
        f"/odooops/agent/v1/{name}",
        type="http",
        auth="odooops_agent",
        methods=["POST"],
        csrf=False,
        save_session=False,
        max_content_length=limit_bytes,
    )


class AgentController(http.Controller):
    """The agents' side door: JSON in, JSON out, real status codes."""

    @_agent_route("lease")
    def lease(self, **_params):
        """Give the agent its next operation, if there is one."""
        return self._answer(protocol.LeaseRequest, self._lease)

    @_agent_route("heartbeat")
    def heartbeat(self, **_params):
        """Take a sign of life, renew leases and the key."""
        return self._answer(protocol.Heartbeat, self._heartbeat)

    @_agent_route("steps")
    def steps(self, **_params):
        """Record steps that began or ended."""
        return self._answer(protocol.Steps, self._steps)

    @_agent_route("logs")
    def logs(self, **_params):
        """Record lines of output."""
        return self._answer(protocol.Logs, self._logs)

    @_agent_route("finish")
    def finish(self, **_params):
        """Record how an operation ended."""
        return self._answer(protocol.Finish, self._finish)

    @_agent_route("mails", _MAILS_BYTES)
    def mails(self, **_params):
        """Take in what an environment sent and nobody got."""
        return self._answer(protocol.Mails, self._mails)

    @_agent_route("upload")
    def upload(self, **_params):
        """Take in a piece of what a person is to download."""
        return self._answer(protocol.Upload, self._upload)

    def _answer(self, message_class, handler):
        try:
            message = message_class.from_json(_body())
            key = request.env["odooops.agent.key"].sudo().browse(request.env.context["odooops_agent_key_id"])
            key._used()
            answer = handler(key, message)
        except protocol.ProtocolError as error:
            abort(error)
        return request.make_json_response({"schema": protocol.SCHEMA, **answer})

    def _lease(self, key, message):
        agent = key.agent_id
        operation = request.env["odooops.operation"].sudo()._lease_next(agent, message.kinds, message.tokens)
        return {"operation": operation._payload() if operation else None, "poll_seconds": agent.poll_seconds}

    def _heartbeat(self, key, message):
        agent = key.agent_id
        agent._seen(message)
        agent.environment_ids._report(message.environments, message.tokens)
        orders = request.env["odooops.operation"].sudo()._heartbeat(agent, message.operations)
        agent._notice_silent()
        return {
            "operations": orders,
            "poll_seconds": agent.poll_seconds,
            "key": key._renewed(),
            "now": protocol.show_time(fields.Datetime.now()),
            **agent._compare_audit(message.audit_head),
        }

    def _steps(self, key, message):
        self._operation(key, message)._report_steps(message.steps)
        return {"ok": True}

    def _logs(self, key, message):
        self._operation(key, message)._report_lines(message.lines)
        return {"ok": True}

    def _finish(self, key, message):
        self._operation(key, message)._finish(message)
        return {"ok": True}

    def _mails(self, key, message):
        own = key.agent_id.with_context(active_test=False).environment_ids
        environment = own.filtered(lambda one: one.key == message.environment)
        if not environment:
            raise protocol.Forbidden(f"{names.shown(message.environment)} is no environment of this agent.")
        return {"accepted": request.env["odooops.caught.mail"].sudo()._take_in(environment, message.mails)}

    def _upload(self, key, message):
        download = self._operation(key, message).download_id
        if not download:
            raise protocol.Forbidden("This operation uploads nothing.")
        download._receive(message.offset, message.data)
        return {"ok": True}

    def _operation(self, key, message):
        return request.env["odooops.operation"].sudo()._of_agent(key.agent_id, message.operation_id, message.token)


def _body():
    """Return the request's JSON object.

    :raises protocol.ProtocolError: when it is too large or no JSON object
    """
    try:
        raw = request.httprequest.get_data()
        message = protocol.scrubbed(json.loads(raw, parse_constant=protocol.refuse_constant))
    except werkzeug.exceptions.RequestEntityTooLarge as error:
        raise protocol.TooLarge("The message is larger than this route takes: send it in parts.") from error
    except (ValueError, RecursionError) as error:
        raise protocol.BadMessage("The message is no JSON.") from error
    if not isinstance(message, dict):
        raise protocol.BadMessage("The message has to be a JSON object.")
    return message
