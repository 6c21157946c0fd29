"""The embedded Temporal server: found, started, kept up and stopped for the user."""

from holdfast.engine.embedded.attach import DEFAULT_LINGER as DEFAULT_LINGER
from holdfast.engine.embedded.attach import Attachment as Attachment
from holdfast.engine.embedded.attach import attach as attach
from holdfast.engine.embedded.attach import read_info as read_info
from holdfast.engine.embedded.attach import stop as stop
from holdfast.engine.embedded.binary import find_binary as find_binary
from holdfast.engine.embedded.home import ServerInfo as ServerInfo

__all__ = ["DEFAULT_LINGER", "Attachment", "ServerInfo", "attach", "find_binary", "read_info", "stop"]
