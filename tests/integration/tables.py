"""Tables of what a run found, for a report: Markdown files in the folder that PTA_TABLES names, and nothing without it."""

import os


def write(name, head, rows, title):
    """Writes (or, for the same title again, adds) a table to NAME.md; prints it too."""
    lines = [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    text = "\n".join(lines) + "\n\n"
    print(text)
    folder = os.environ.get("PTA_TABLES")
    if folder:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{name}.md"), "a", encoding="utf-8") as out:
            out.write(text)
