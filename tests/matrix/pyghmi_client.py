"""One method of pyghmi's Command: [--kg KEY] PORT USER PASSWORD METHOD [ARGUMENT | NAME=VALUE]..."""

import ast
import sys
import types

from pyghmi.ipmi import command, console


def literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def shown(result):
    if isinstance(result, types.GeneratorType):
        return [shown(item) for item in result]
    if isinstance(result, (list, tuple)):
        return type(result)(shown(item) for item in result)
    # Sensor readings and the like are plain objects.
    return vars(result) if hasattr(result, "__dict__") else result


def watch(port, user, password, **login):
    """Opens a console until it is up, and closes it."""
    session = console.Console("127.0.0.1", user, password, port=port,
                              iohandler=lambda data: None, force=True, **login)
    while not session.connected and not session.broken:
        session.wait_for_rsp(1)
    result = {"connected": session.connected}
    session.close()
    return result


def main():
    words = sys.argv[1:]
    login = {}
    if words[0] == "--kg":
        login["kg"] = words[1].encode()
        words = words[2:]
    port, user, password, method, *words = words
    positional = [literal(word) for word in words if "=" not in word]
    named = {key: literal(value) for key, value in (word.split("=", 1) for word in words if "=" in word)}
    if method == "console":
        return watch(int(port), user, password, **login)
    session = command.Command("127.0.0.1", user, password, port=int(port), **login)
    try:
        return shown(getattr(session, method)(*positional, **named))
    finally:
        session.ipmi_session.logout()


print(repr(main()))
