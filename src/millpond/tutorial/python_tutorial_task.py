"""The task of the tutorial: find the most frequent words of a text and upload them to Azure Storage.

It runs on a compute node, and needs nothing there but Python and the storage library.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
from pathlib import Path

from azure.storage.blob import ContainerClient


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--filepath", type=Path, required=True, help="the text to read")
    parser.add_argument("--numwords", type=int, required=True, help="how many words to find")
    parser.add_argument("--storageaccount", required=True, help="the URL of the storage account for the output")
    parser.add_argument("--storagecontainer", required=True, help="the container for the output")
    parser.add_argument("--sastoken", required=True, help="a signature that allows writing to that container")
    args = parser.parse_args()

    words = re.findall(r"[a-z']+", args.filepath.read_text(encoding="utf-8").lower())
    by_count = sorted(collections.Counter(words).items(), key=lambda item: (-item[1], item[0]))

    output_file = Path(f"{args.filepath.stem}_OUTPUT{args.filepath.suffix}")
    with output_file.open("w", encoding="utf-8") as output:
        for word, count in by_count[: args.numwords]:
            print(f"{word:<15} {count:>4}", file=output)
        print("-" * 20, file=output)
        print("Node: " + os.environ["AZ_BATCH_NODE_ID"], file=output)
        print("Task: " + os.environ["AZ_BATCH_TASK_ID"], file=output)
        print("Job:  " + os.environ["AZ_BATCH_JOB_ID"], file=output)
        print("Pool: " + os.environ["AZ_BATCH_POOL_ID"], file=output)

    print(f"Uploading file {output_file.resolve()} to container [{args.storagecontainer}]...")
    container_client = ContainerClient(args.storageaccount, args.storagecontainer, credential=args.sastoken)
    with output_file.open("rb") as data:
        container_client.upload_blob(output_file.name, data, overwrite=True)


if __name__ == "__main__":
    main()
