"""The tutorial's task with the storage library of 2017: find the most frequent words of a text and upload them."""

import argparse
import collections
import os
import re
from urllib.parse import urlparse

import azure.storage.blob as azureblob

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--filepath", required=True, help="the text to read")
    parser.add_argument("--numwords", type=int, required=True, help="how many words to find")
    parser.add_argument("--storageaccount", required=True, help="the URL of the storage account for the output")
    parser.add_argument("--storagecontainer", required=True, help="the container for the output")
    parser.add_argument("--sastoken", required=True, help="a signature that allows writing to that container")
    args = parser.parse_args()

    input_file = os.path.realpath(args.filepath)
    with open(input_file) as text:
        words = re.findall(r"[a-z']+", text.read().lower())
    by_count = sorted(collections.Counter(words).items(), key=lambda item: (-item[1], item[0]))

    name, extension = os.path.splitext(args.filepath)
    output_file = f"{name}_OUTPUT{extension}"
    with open(output_file, "w") as output:
        for word, count in by_count[: args.numwords]:
            output.write(f"{word:<15} {count:>4}\n")
        output.write("-" * 20 + "\n")
        output.write(f"Node: {os.environ['AZ_BATCH_NODE_ID']}\n")

    # A client with nothing but the container's signature: it can write there, and nothing else.
    blob_client = azureblob.BlockBlobService(
        account_name=urlparse(args.storageaccount).path.strip("/"),
        custom_domain=args.storageaccount,
        sas_token=args.sastoken,
    )
    print(f"Uploading file {os.path.realpath(output_file)} to container [{args.storagecontainer}]...")
    blob_client.create_blob_from_path(args.storagecontainer, output_file, os.path.realpath(output_file))
