"""Mail: one inbox, whatever road the mail takes to it."""

from adapters.email.inbox import MAX_RECIPIENTS, Email
from adapters.email.options import EmailOptions

__all__ = ["MAX_RECIPIENTS", "Email", "EmailOptions"]
