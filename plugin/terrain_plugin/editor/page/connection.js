// The socket of what is asked and shown. It comes back by itself when the engine does.

const FIRST_WAIT = 300, LONGEST_WAIT = 2000;

export class Connection {
  #listeners = new Map();
  #socket = null;
  #wait = FIRST_WAIT;
  connected = false;
  reconnections = -1;

  open() {
    const socket = new WebSocket(`ws://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = FIRST_WAIT;
      this.connected = true;
      this.reconnections += 1;
      this.#tell("open", null);
    };
    socket.onmessage = (event) => {
      if (typeof event.data === "string") {
        const message = JSON.parse(event.data);
        this.#tell(message.type, message);
      } else this.#tell("picture", readPicture(event.data));
    };
    socket.onclose = () => {
      this.connected = false;
      this.#tell("lost", null);
      setTimeout(() => this.open(), this.#wait);
      this.#wait = Math.min(this.#wait * 1.5, LONGEST_WAIT);
    };
    this.#socket = socket;
  }

  on(type, call) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, []);
    this.#listeners.get(type).push(call);
  }

  send(type, fields = {}) {
    if (this.connected) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  #tell(type, message) {
    for (const call of this.#listeners.get(type) ?? []) call(message);
  }
}

// Bytes: the head's size, the head as JSON, then for each latent a byte for each pixel.
function readPicture(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  return { ...head, levels: new Uint8Array(buffer, 4 + size) };
}
