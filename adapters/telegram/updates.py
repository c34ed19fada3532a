"""What Telegram delivers to an update that this version understands."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aiogram import Bot
from aiogram.types import Update
from aiogram.types.update import UpdateTypeLookupError
from pydantic import ValidationError

log = logging.getLogger(__name__)


def parse(raw: Mapping[str, Any], bot: Bot) -> Update:
    """The update; without content, if it is of a kind or a form that this version does not know."""
    try:
        return Update.model_validate(raw, context={"bot": bot})
    except ValidationError:
        return Update(update_id=raw["update_id"])


def is_understood(update: Update) -> bool:
    """Whether there is something in it to handle; if not, that is logged."""
    try:
        update.event_type  # noqa: B018 - asking is the only way to learn that there is none
    except UpdateTypeLookupError:
        log.debug("an update that this version does not understand was left out")
        return False
    return True
