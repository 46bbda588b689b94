"""The one error that means: the input is at fault, and here is the line that says why."""


class InputError(ValueError):
    """Bad input from outside: a file, a flag, an array.

    Its message is one line that names the thing, what is wrong with it, and what would be right. The command
    line programs print that line without a traceback and end with status 1.
    """
