"""Sends requests one after the other and prints the answers as a list of objects.

    fetch.py <base address> <"METHOD path">...

Form fields of a POST stand behind a question mark, as in a query.
"""
import json
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

base, *lines = sys.argv[1:]
answers = []
for line in lines:
    method, path = line.split(" ", 1)
    path, _, form = path.partition("?") if method == "POST" else (path, "", "")
    data = form.encode() if method == "POST" else None
    try:
        with urlopen(Request(base + path, data=data, method=method), timeout=30) as answer:
            answers.append({"status": answer.status, "body": answer.read().decode()})
    except HTTPError as error:
        answers.append({"status": error.code, "body": error.read().decode()})
print(json.dumps(answers))
