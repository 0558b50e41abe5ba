"""What the message of a user's mistake looks like, whatever the names and values in it."""

from core.errors import UserError, cut, reason, shown


def test_a_message_holds_nothing_that_a_terminal_would_act_on():
    assert str(UserError("file \x1b[2J\x07:\tnot \u202eread")) == "file \\x1b[2J\\x07:\tnot \\u202eread"


def test_a_line_break_in_a_name_divides_no_message():
    message = str(UserError("\n: not known. Expected:\n  a\n\tb\n  c"))
    assert message == "\\n: not known. Expected:\n  a\\n\tb\n  c"


def test_a_long_name_is_cut_wherever_it_stands():
    name = "x" * 5_000
    message = str(UserError(f"sweep.py: {name}.<field> is not a field of the config"))
    assert message == f"sweep.py: {'x' * 50}... (5,008 characters) ...{'x' * 42}.<field> is not a field of the config"


def test_the_path_of_a_file_is_not_cut():
    path = "/" + "/".join(["folder"] * 40)
    assert str(UserError(f"{path} is damaged")) == f"{path} is damaged"


def test_a_value_is_shown_in_one_line():
    assert shown("a\nb") == r"'a\nb'"
    assert cut("a\tb\nc") == r"a\tb\nc"
    assert cut("abcdefghij", longest=4) == "ab... (10 characters) ...ij"


def test_what_a_library_says_becomes_one_line():
    assert reason(TypeError("unexpected keyword argument '\n'\n\tdid you mean 'x'?")) == (
        r"unexpected keyword argument '\n'\n\tdid you mean 'x'?"
    )
    assert len(reason(ValueError("y" * 1_000))) < 340
