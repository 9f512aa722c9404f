"""The `tillstream` command for spark-submit, which takes nothing but files that end in .py:

spark-submit --master spark://host:7077 --jars "$(tillstream jars)" deploy/spark/submit.py stream
"""

from tillstream.cli.main import main

main()
