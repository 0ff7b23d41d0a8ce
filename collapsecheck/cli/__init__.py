"""The command line: options -> call -> render -> exit code. Only this folder prints and exits."""
