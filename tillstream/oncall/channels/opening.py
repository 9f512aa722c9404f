"""A channel from its description."""

from collections.abc import Mapping

from tillstream.oncall.channels.channel import Channel
from tillstream.oncall.channels.mail import Mail
from tillstream.oncall.channels.pagerduty import PAGERDUTY_URL, PagerDuty
from tillstream.oncall.channels.slack import Slack
from tillstream.oncall.channels.webhook import Webhook
from tillstream.oncall.policy import ChannelSpec, ChannelType


def open_channel(spec: ChannelSpec, secrets: Mapping[str, str]) -> Channel:
    """`secrets` are those of this channel. Nothing is connected before the first page."""
    given = {**spec.options, **secrets}
    match spec.type:
        case ChannelType.WEBHOOK:
            return Webhook(
                given["url"],
                timeout_s=spec.timeout_s,
                token=given.get("token", ""),
                signing_key=given.get("signing_key", ""),
            )
        case ChannelType.SLACK:
            return Slack(given["url"], timeout_s=spec.timeout_s)
        case ChannelType.PAGERDUTY:
            url = given.get("url", PAGERDUTY_URL)
            return PagerDuty(given["routing_key"], timeout_s=spec.timeout_s, url=url)
        case ChannelType.EMAIL:
            return Mail(
                given["server"],
                sender=given["from"],
                timeout_s=spec.timeout_s,
                to=given.get("to", ""),
                security=given.get("security", "starttls"),
                username=given.get("username", ""),
                password=given.get("password", ""),
            )
