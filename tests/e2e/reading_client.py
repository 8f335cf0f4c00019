"""Looks at what a user has read, over a WebSocket, and prints each state that is pushed as a line: its offset and how much is unread.

reading_client.py URL TOKEN
"""

import asyncio
import json
import sys

import websockets


async def main(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with websockets.connect(url, additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "subscribe", "rooms": ["read_state"]}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "read_state":
                print(json.dumps([message["offset"], message["data"]["unread"]]), flush=True)


asyncio.run(main(*sys.argv[1:]))
