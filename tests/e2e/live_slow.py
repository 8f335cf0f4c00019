"""A client that stops reading while much is sent, then reads to the end: prints the close code, its reason and where it was.

live_slow.py URL FILE TOKEN: says "following" once it is in, reads nothing until the file is there.
"""

import asyncio
import json
import os
import socket
import sys

import websockets


async def main():
    url, until, token = sys.argv[1:]
    signed_in = {"Authorization": f"Bearer {token}"}
    host, port = url.split("/")[2].split(":")
    line = socket.socket()
    # What the system keeps for a reader that does not read is bounded too.
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    line.connect((host, int(port)))
    line.setblocking(False)
    async with websockets.connect(
        url, sock=line, max_queue=1, ping_interval=None, additional_headers=signed_in
    ) as client:
        await client.send(json.dumps({"type": "subscribe", "rooms": ["activity_feed"]}))
        offsets, position = 0, None
        while position is None:
            message = json.loads(await client.recv())
            if message["type"] == "activity_snapshot":
                position = {"epoch": message["epoch"], "offsets": message["offsets"]}
        print("following", flush=True)
        client.transport.pause_reading()
        while not os.path.exists(until):
            await asyncio.sleep(0.02)
        client.transport.resume_reading()
        try:
            while True:
                message = json.loads(await client.recv())
                if message["type"] == "activity_event":
                    offsets += 1
                    position["offsets"][message["partition"]] = message["next"]
        except websockets.ConnectionClosed as end:
            close = end.rcvd
            print(json.dumps({
                "code": close and close.code, "reason": close and close.reason,
                "events": offsets, "position": position,
            }))


asyncio.run(main())
