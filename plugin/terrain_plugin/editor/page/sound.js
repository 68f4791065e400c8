// Sound in the page: a worker takes it from the socket and hands it to an AudioWorklet, so that drawing never stands in
// its way. Where there is no worklet (a page that did not come from this machine, without encryption), buffers are
// queued on the page's own thread instead.

export class Sound {
  stats = { playing: false, buffered_ms: 0, gaps: 0, dropped: 0, blocks: 0, missed: 0, way: "" };
  #context = null;
  #worker = null;
  #socket = null;

  async start(sampleRate) {
    const context = new AudioContext({ sampleRate, latencyHint: "interactive" });
    this.#context = context;
    const channel = new MessageChannel();
    if (context.audioWorklet) {
      await context.audioWorklet.addModule("page/sound-worklet.js");
      const node = new AudioWorkletNode(context, "terrain", { numberOfInputs: 0, outputChannelCount: [2] });
      node.port.onmessage = (event) => Object.assign(this.stats, event.data);
      node.port.postMessage({ port: channel.port2 }, [channel.port2]);
      node.connect(context.destination);
      this.stats.way = "worklet";
    } else {
      channel.port2.onmessage = (event) => this.#queue(event.data);
      this.stats.way = "buffers";
    }
    this.#worker = new Worker("page/sound-worker.js");
    this.#worker.postMessage({ address: `ws://${location.host}/sound`, port: channel.port1 }, [channel.port1]);
    await context.resume();
    this.stats.playing = true;
  }

  async stop() {
    this.#worker?.terminate();
    await this.#context?.close();
    this.#worker = this.#context = null;
    this.stats.playing = false;
  }

  // How long from the engine to the ear, in milliseconds, without the engine's own delay.
  get latency() {
    const context = this.#context;
    if (!context) return 0;
    return this.stats.buffered_ms + 1000 * ((context.baseLatency || 0) + (context.outputLatency || 0));
  }

  #end = 0;
  #queue({ channels }) {
    const context = this.#context;
    if (!context) return;
    const buffer = context.createBuffer(channels.length, channels[0].length, context.sampleRate);
    channels.forEach((samples, n) => buffer.copyToChannel(samples, n));
    const now = context.currentTime;
    if (this.#end < now) { if (this.#end) this.stats.gaps += 1; this.#end = now + 0.08; }
    if (this.#end > now + 0.4) { this.stats.dropped += 1; return; }
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.start(this.#end);
    this.#end += buffer.duration;
    this.stats.blocks += 1;
    this.stats.buffered_ms = 1000 * (this.#end - now);
  }
}
