"""Follows the live activity feed with a client of another make, and prints what it was sent as one JSON object.

live_client.py '{"urls": [...], "cuts": 100, "seed": 1, "until": "FILE", "token": "..."}'

It is cut so many times at random, at any of the addresses, and resumes each time where it was. When the file is there it names the
offset after the last record of each partition; the client goes on until it has all of them. It says "following" once it is in.
"""

import asyncio
import json
import os
import random
import sys

import websockets

PATIENCE_SECONDS = 90


class Follower:
    def __init__(self, plan):
        self.plan = plan
        self.chance = random.Random(plan["seed"])
        self.cuts_left = plan["cuts"]
        self.position = None
        self.begins = False
        self.events = []
        self.resets = []
        self.codes = {}
        self.resumed = 0

    def take(self, message):
        kind = message["type"]
        if kind == "subscribed":
            state = message["rooms"][0]
            if state["resumed"]:
                self.resumed += 1
            else:
                self.begins = True
        elif kind == "activity_snapshot":
            self.position = {"epoch": message["epoch"], "offsets": message["offsets"]}
            if self.begins:
                self.begins = False
                print("following", flush=True)
        elif kind == "reset":
            self.resets.append(message["reason"])
            self.position = None
        elif kind == "position" and self.position:
            self.position = {"epoch": message["epoch"], "offsets": message["offsets"]}
        elif kind == "activity_event":
            self.position["offsets"][message["partition"]] = message["next"]
            place = [message["partition"], message["offset"], message["row"]]
            self.events.append([place, message["data"]["id"], message["data"]["title"]])
        elif kind == "error":
            raise RuntimeError(message)

    def has_all(self):
        if self.cuts_left > 0 or not os.path.exists(self.plan["until"]):
            return False
        with open(self.plan["until"], encoding="utf-8") as file:
            ends = json.load(file)
        offsets = self.position["offsets"] if self.position else []
        return len(offsets) == len(ends) and all(
            isinstance(offset, int) and offset >= end for offset, end in zip(offsets, ends)
        )

    async def connection(self):
        url = self.chance.choice(self.plan["urls"])
        lives = self.chance.uniform(0.0, 0.15) if self.cuts_left > 0 else PATIENCE_SECONDS
        async with websockets.connect(url, subprotocols=["kelly.v1", f"bearer.{self.plan['token']}"]) as socket:
            subscribe = {"type": "subscribe", "id": 1, "rooms": ["activity_feed"]}
            if self.position:
                subscribe["resume"] = {"activity_feed": self.position}
            await socket.send(json.dumps(subscribe))
            try:
                async with asyncio.timeout(lives):
                    while not self.has_all():
                        try:
                            async with asyncio.timeout(0.2):
                                message = await socket.recv()
                        except TimeoutError:
                            continue
                        self.take(json.loads(message))
            except TimeoutError:
                # No farewell: the line is cut in the middle of whatever is on it.
                self.cuts_left -= 1
                socket.transport.abort()

    async def run(self):
        while not self.has_all():
            try:
                await self.connection()
            except websockets.ConnectionClosed as end:
                code = end.rcvd.code if end.rcvd else 1006
                self.codes[code] = self.codes.get(code, 0) + 1
                if not (code == 1006 or 4000 <= code < 4500):
                    raise
            except (OSError, EOFError, websockets.InvalidHandshake):
                # The instance is away; another one may not be.
                await asyncio.sleep(0.05)


async def main():
    follower = Follower(json.loads(sys.argv[1]))
    async with asyncio.timeout(PATIENCE_SECONDS * 2):
        await follower.run()
    print(
        json.dumps(
            {
                "events": follower.events,
                "resets": follower.resets,
                "resumed": follower.resumed,
                "codes": follower.codes,
            }
        )
    )


asyncio.run(main())
