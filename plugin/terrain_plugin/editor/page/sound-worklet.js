// Plays blocks as they come. It begins when `target` seconds of them are there, and counts a gap each time it runs dry;
// after a gap it waits for more. What is MOST seconds beyond the target is dropped, so that a page that was asleep is
// not late for ever.

const FIRST_TARGET = 0.07, LARGEST_TARGET = 0.25, MORE = 1.4, MOST = 0.2, REPORT = 0.2;

class Terrain extends AudioWorkletProcessor {
  constructor() {
    super();
    this.blocks = [];
    this.waiting = 0;  // samples
    this.offset = 0;
    this.running = false;
    this.target = FIRST_TARGET;
    this.gaps = 0;
    this.dropped = 0;
    this.count = 0;
    this.missed = 0;
    this.last = null;
    this.told = 0;
    this.port.onmessage = ({ data }) => { data.port.onmessage = (event) => this.take(event.data); };
  }

  take({ number, channels }) {
    if (this.last !== null && number > this.last + 1) this.missed += number - this.last - 1;
    this.last = number;
    this.count += 1;
    this.blocks.push(channels);
    this.waiting += channels[0].length;
    while (this.waiting > (MOST + this.target) * sampleRate && this.blocks.length > 1) {
      this.waiting -= this.blocks.shift()[0].length - this.offset;
      this.offset = 0;
      this.dropped += 1;
    }
  }

  process(inputs, [out]) {
    if (!this.running && this.waiting >= this.target * sampleRate) this.running = true;
    let done = 0;
    const wanted = out[0].length;
    while (this.running && done < wanted) {
      if (!this.blocks.length) {
        this.running = false;
        this.gaps += 1;
        this.target = Math.min(this.target * MORE, LARGEST_TARGET);
        break;
      }
      const block = this.blocks[0], count = Math.min(wanted - done, block[0].length - this.offset);
      out.forEach((samples, n) => samples.set(block[Math.min(n, block.length - 1)].subarray(this.offset, this.offset + count), done));
      done += count;
      this.offset += count;
      this.waiting -= count;
      if (this.offset === block[0].length) { this.blocks.shift(); this.offset = 0; }
    }
    if (currentTime - this.told > REPORT) {
      this.told = currentTime;
      this.port.postMessage({ buffered_ms: 1000 * this.waiting / sampleRate, gaps: this.gaps, dropped: this.dropped, blocks: this.count, missed: this.missed });
    }
    return true;
  }
}
registerProcessor("terrain", Terrain);
