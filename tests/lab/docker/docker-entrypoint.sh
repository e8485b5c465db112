#!/bin/bash
# What MongoDB's own image does at its first start: make the root user, then serve as the user mongodb.
set -euo pipefail
chown mongodb:mongodb /data/db
run() { setpriv --reuid=mongodb --regid=mongodb --clear-groups "$@"; }
if [ ! -e /data/db/WiredTiger ]; then
    run mongod --dbpath /data/db --bind_ip 127.0.0.1 --fork --logpath /tmp/first.log
    /opt/servers/bin/python - <<'END'
import os
import pymongo

with pymongo.MongoClient("mongodb://127.0.0.1:27017/?directConnection=true") as client:
    client.admin.command(
        "createUser",
        os.environ["MONGO_INITDB_ROOT_USERNAME"],
        pwd=os.environ["MONGO_INITDB_ROOT_PASSWORD"],
        roles=["root"],
    )
END
    run mongod --dbpath /data/db --shutdown
fi
exec setpriv --reuid=mongodb --regid=mongodb --clear-groups "$@" --dbpath /data/db --wiredTigerCacheSizeGB 0.25
