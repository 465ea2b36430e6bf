// A camera at its full resolution: preview, countdown, photos that are looked at before anything is sent.

const LARGEST = { width: { ideal: 4096 }, height: { ideal: 3072 } };
const PHOTO_MILLISECONDS = 6000; // within which a camera gives a photo of its own; else one of the video is taken

// Why no camera can be asked for in this page; empty where one can.
const unavailable = () => (navigator.mediaDevices?.getUserMedia ? "" : window.isSecureContext ? "none" : "insecure");

const FAULTS = { NotAllowedError: "denied", SecurityError: "denied", NotReadableError: "taken", AbortError: "taken" };

class Camera {
  constructor(video) {
    this.video = video;
    this.stream = null;
    this.facing = "user";
    this.device = "";
    this.devices = [];
    this.asked = 0;
  }

  get track() { return this.stream?.getVideoTracks()[0]; }
  // Whoever looks at themselves expects a mirror; what lies behind the device is not mirrored.
  get mirrored() { return (this.track?.getSettings().facingMode || this.facing) !== "environment"; }

  // Starts the camera; returns why it did not, or "".
  async start() {
    const fault = unavailable();
    if (fault) return fault;
    this.stop();
    const turn = (this.asked += 1);
    const which = this.device ? { deviceId: { exact: this.device } } : { facingMode: { ideal: this.facing } };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...LARGEST, ...which } });
      if (turn !== this.asked) { // left, or another one was asked for meanwhile
        stream.getTracks().forEach((each) => each.stop());
        return "";
      }
      this.stream = stream;
    } catch (error) {
      return FAULTS[error.name] || "none";
    }
    this.video.srcObject = this.stream;
    await this.video.play().catch(() => {});
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    this.devices = all.filter((each) => each.kind === "videoinput").map((each) => each.deviceId);
    return "";
  }

  stop() {
    this.asked += 1;
    this.stream?.getTracks().forEach((each) => each.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  // Another camera: the other side of a phone, or the next one that is connected.
  other() {
    const settings = this.track?.getSettings() || {};
    if (settings.facingMode) {
      this.facing = settings.facingMode === "environment" ? "user" : "environment";
      this.device = "";
    } else {
      const at = this.devices.indexOf(settings.deviceId);
      this.device = this.devices[(at + 1) % this.devices.length] || "";
    }
    return this.start();
  }

  // A photo as a JPEG: the camera's own where it gives a larger one than the video, or else a picture of the video.
  async take() {
    return (await this.ownPhoto()) || this.encode(this.video, this.video.videoWidth, this.video.videoHeight);
  }

  encode(picture, width, height) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  }

  async ownPhoto() {
    if (!window.ImageCapture || !this.track) return null;
    const late = new Promise((done) => setTimeout(() => done(null), PHOTO_MILLISECONDS));
    return Promise.race([this.largestPhoto(new ImageCapture(this.track)), late]).catch(() => null);
  }

  async largestPhoto(capture) {
    const { imageWidth, imageHeight } = await capture.getPhotoCapabilities().catch(() => ({}));
    const pixels = this.video.videoWidth * this.video.videoHeight;
    const known = imageWidth?.max && imageHeight?.max;
    if (known && imageWidth.max * imageHeight.max <= pixels) return null;
    const photo = await capture.takePhoto(known ? { imageWidth: imageWidth.max, imageHeight: imageHeight.max } : {});
    const picture = await createImageBitmap(photo);
    const larger = picture.width * picture.height > pixels;
    const own = photo.type === "image/jpeg" ? photo : await this.encode(picture, picture.width, picture.height);
    picture.close();
    return larger ? own : null;
  }
}
