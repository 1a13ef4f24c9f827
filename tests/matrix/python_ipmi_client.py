"""One method of python-ipmi's Ipmi: [--interface NAME] [--suite ID] PORT USER PASSWORD METHOD [ARGUMENT | NAME=VALUE]..."""

import argparse
import ast
import types

import pyipmi
import pyipmi.interfaces


def literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def shown(result):
    if isinstance(result, types.GeneratorType):
        result = list(result)
    if isinstance(result, (list, tuple)):
        return [shown(item) for item in result]
    plain = (int, str, bytes, float, dict, type(None))
    if isinstance(result, plain) or not hasattr(result, "__dict__"):
        return result
    return {name: shown(value) for name, value in vars(result).items() if name[0] != "_"}


parser = argparse.ArgumentParser()
parser.add_argument("--interface", default="rmcpplus")
parser.add_argument("--suite", type=int)
for name in ["port", "user", "password", "method"]:
    parser.add_argument(name)
parser.add_argument("words", nargs="*")
args = parser.parse_args()

options = {"cipher_suite": args.suite} if args.suite is not None else {}
interface = pyipmi.interfaces.create_interface(args.interface, **options)
ipmi = pyipmi.create_connection(interface)
ipmi.session.set_session_type_rmcp("127.0.0.1", int(args.port))
ipmi.session.set_auth_type_user(args.user, args.password)
ipmi.target = pyipmi.Target(ipmb_address=0x20)
with ipmi:
    positional = [literal(word) for word in args.words if "=" not in word]
    named = {key: literal(value) for key, value in (word.split("=", 1) for word in args.words if "=" in word)}
    print(repr(shown(getattr(ipmi, args.method)(*positional, **named))))
