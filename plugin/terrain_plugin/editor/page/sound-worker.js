// Takes blocks of sound from the socket: its number and how many channels (u32 each), then float32, channel by channel.

onmessage = ({ data: { address, port } }) => {
  const open = () => {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      const head = new DataView(data, 0, 8);
      const number = head.getUint32(0, true), count = head.getUint32(4, true);
      const all = new Float32Array(data, 8), size = all.length / count;
      const channels = Array.from({ length: count }, (_, n) => all.slice(n * size, (n + 1) * size));
      port.postMessage({ number, channels }, channels.map((samples) => samples.buffer));
    };
    socket.onclose = () => setTimeout(open, 500);
  };
  open();
};
