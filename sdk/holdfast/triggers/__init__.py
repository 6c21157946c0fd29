"""What starts runs: at times, at events, at calls of a webhook."""

from holdfast.triggers.declared import Policy as Policy
from holdfast.triggers.declared import Trigger as Trigger
from holdfast.triggers.events import OnEvent as OnEvent
from holdfast.triggers.events import OnWebhook as OnWebhook
from holdfast.triggers.timed import Calendar as Calendar
from holdfast.triggers.timed import Cron as Cron
from holdfast.triggers.timed import Interval as Interval
from holdfast.triggers.webhooks import Delivery as Delivery
from holdfast.triggers.webhooks import sign as sign
from holdfast.triggers.webhooks import verify as verify

__all__ = [
    "Calendar",
    "Cron",
    "Delivery",
    "Interval",
    "OnEvent",
    "OnWebhook",
    "Policy",
    "Trigger",
    "sign",
    "verify",
]
