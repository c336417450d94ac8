"""The routes beside /score: parse, call one room, shape the answer."""
