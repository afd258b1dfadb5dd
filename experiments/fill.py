"""Put a table from standard input between the two marks of a Markdown file: … | python experiments/fill.py <file>"""

import re
import sys
from pathlib import Path

MARKED = re.compile(r"(<!-- table -->\n).*(<!-- end of table -->)", re.DOTALL)

if __name__ == "__main__":
    file = Path(sys.argv[1])
    table = sys.stdin.read().strip()
    file.write_text(MARKED.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", file.read_text()))
