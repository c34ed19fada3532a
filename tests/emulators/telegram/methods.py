"""The Bot API methods, each as a function of the emulator's world and the call's parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.emulators.telegram.checks import ACTIONS, command_scope, content, keyboard, parsed, utf16
from tests.emulators.telegram.errors import NOT_MODIFIED, ApiError, bad_request, forbidden, upgraded
from tests.emulators.telegram.world import Chat, Json, Message, Version

if TYPE_CHECKING:
    from tests.emulators.telegram.emulator import TelegramEmulator

MOST_BYTES = 20 * 2**20
"""What a bot can fetch of a file (https://core.telegram.org/bots/api#getfile)."""
Method = Callable[["TelegramEmulator", Json], Awaitable[Any]]


def _chat(emu: TelegramEmulator, params: Json) -> Chat:
    try:
        chat = emu.chats.get(int(params.get("chat_id") or 0))
    except ValueError:
        chat = None
    if chat is None:
        raise bad_request("chat not found")
    if chat.migrated_to is not None:
        raise upgraded(chat.migrated_to)
    if chat.refusal is not None:
        raise forbidden(chat.refusal)
    return chat


def _thread(chat: Chat, params: Json) -> int | None:
    thread = params.get("message_thread_id")
    if thread is None:
        return None
    if not chat.is_forum or int(thread) not in chat.topics:
        raise bad_request("message thread not found")
    return int(thread)


def _reply(emu: TelegramEmulator, chat: Chat, params: Json) -> int | None:
    reply = parsed(params.get("reply_parameters"), "reply parameters")
    if not reply:
        return None
    message_id = int(reply["message_id"])
    target = emu.messages.get((chat.id, message_id))
    if target is None or target.is_deleted:
        if reply.get("allow_sending_without_reply") in {True, "true"}:
            return None
        raise bad_request("message to be replied not found")
    return message_id


def _own_message(emu: TelegramEmulator, chat: Chat, params: Json) -> Message:
    message = emu.messages.get((chat.id, int(params.get("message_id") or 0)))
    if message is None or message.is_deleted:
        raise bad_request("message to edit not found")
    if not message.is_from_bot:
        raise bad_request("message can't be edited")
    return message


async def get_me(emu: TelegramEmulator, _: Json) -> Json:
    return {
        **emu.bot_user.json(),
        "can_join_groups": True,
        "can_read_all_group_messages": not emu.is_privacy_on,
        "supports_inline_queries": False,
    }


async def send_message(emu: TelegramEmulator, params: Json) -> Json:
    chat = _chat(emu, params)
    thread = _thread(chat, params)
    text, entities = content(params)
    markup = keyboard(params)
    reply_to = _reply(emu, chat, params)
    emu.flood.spend(chat.id)
    emu.previews.dismiss(chat.id)
    message = emu.post(
        chat, emu.bot_user, text, entities=entities, reply_markup=markup, thread_id=thread, reply_to=reply_to
    )
    return message.json(reply_to=emu.messages.get((chat.id, reply_to)) if reply_to else None)


async def edit_message_text(emu: TelegramEmulator, params: Json) -> Json:
    chat = _chat(emu, params)
    message = _own_message(emu, chat, params)
    try:
        text, entities = content(params)
    except ApiError as error:
        raise bad_request("MESSAGE_TOO_LONG") if error.description.endswith("is too long") else error from error
    return _change(emu, chat, message, text, entities, keyboard(params))


async def edit_message_reply_markup(emu: TelegramEmulator, params: Json) -> Json:
    chat = _chat(emu, params)
    message = _own_message(emu, chat, params)
    return _change(emu, chat, message, message.text, message.entities, keyboard(params))


def _change(
    emu: TelegramEmulator, chat: Chat, message: Message, text: str, entities: list[Json], markup: Json | None
) -> Json:
    emu.flood.spend(chat.id)  # the server counts an edit before it notices that nothing changes
    version = Version(text=text, entities=entities, reply_markup=markup, at=emu.now())
    if version.is_same_content(message.versions[-1]):
        raise bad_request(NOT_MODIFIED)
    message.versions.append(version)
    emu.changed()
    return message.json()


async def delete_message(emu: TelegramEmulator, params: Json) -> bool:
    chat = _chat(emu, params)
    message = emu.messages.get((chat.id, int(params.get("message_id") or 0)))
    if message is None or message.is_deleted:
        raise bad_request("message to delete not found")
    message.is_deleted = True
    emu.changed()
    return True


async def answer_callback_query(emu: TelegramEmulator, params: Json) -> bool:
    query = emu.callbacks.get(str(params.get("callback_query_id")))
    if query is None or query["answered"] or emu.now() - query["at"] > emu.callback_lives_s:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    if utf16(str(params.get("text", ""))) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    query["answered"], query["text"] = True, params.get("text")
    query["is_alert"] = params.get("show_alert") in {True, "true", "True"}
    emu.changed()
    return True


async def send_chat_action(emu: TelegramEmulator, params: Json) -> bool:
    _thread(_chat(emu, params), params)
    if params.get("action") not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    return True


async def send_message_draft(emu: TelegramEmulator, params: Json) -> bool:
    chat = _chat(emu, params)
    if chat.type != "private":
        raise bad_request("TEXTDRAFT_PEER_INVALID")
    if not int(params.get("draft_id") or 0):
        raise bad_request("DRAFT_ID_INVALID")
    if params.get("text"):
        content(params)
    emu.flood.spend(chat.id)
    emu.drafts.append(dict(params))
    can_stop = params.get("can_stop") in {True, "true", "True"}
    emu.previews.show(chat.id, int(params["draft_id"]), str(params.get("text", "")), can_stop=can_stop)
    emu.changed()
    return True


async def get_updates(emu: TelegramEmulator, params: Json) -> list[Json]:
    return await emu.updates.poll(params)


async def set_webhook(emu: TelegramEmulator, params: Json) -> bool:
    emu.updates.set_webhook(params)
    return True


async def delete_webhook(emu: TelegramEmulator, params: Json) -> bool:
    emu.updates.set_webhook({**params, "url": ""})
    return True


async def get_webhook_info(emu: TelegramEmulator, _: Json) -> Json:
    return emu.updates.webhook_info()


async def set_my_commands(emu: TelegramEmulator, params: Json) -> bool:
    commands = parsed(params.get("commands"), "bot commands")
    for command in commands or []:
        name, described = command.get("command", ""), command.get("description", "")
        if not (1 <= len(name) <= 32 and name == name.lower() and name.replace("_", "").isalnum()):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= len(described) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    if len(commands or []) > 100:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    language = str(params.get("language_code") or "")
    if language and not (len(language) == 2 and language.isalpha() and language.islower()):
        raise bad_request("LANG_CODE_INVALID")
    emu.commands[command_scope(params, set(emu.chats)), language] = commands or []
    emu.changed()
    return True


async def get_file(emu: TelegramEmulator, params: Json) -> Json:
    file_id = str(params.get("file_id"))
    if file_id not in emu.files:
        raise bad_request("wrong file_id or the file is temporarily unavailable")
    if len(emu.files[file_id]) > MOST_BYTES and emu.local_files is None:
        raise bad_request("file is too big")
    return {
        "file_id": file_id,
        "file_unique_id": f"u{file_id}",
        "file_size": len(emu.files[file_id]),
        "file_path": str(emu.local_files / file_id) if emu.local_files is not None else f"documents/{file_id}",
    }


METHODS: dict[str, Method] = {
    "getMe": get_me,
    "getUpdates": get_updates,
    "sendMessage": send_message,
    "editMessageText": edit_message_text,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "deleteMessage": delete_message,
    "answerCallbackQuery": answer_callback_query,
    "sendChatAction": send_chat_action,
    "sendMessageDraft": send_message_draft,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
    "setMyCommands": set_my_commands,
    "getFile": get_file,
}
