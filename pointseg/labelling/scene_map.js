// The scene, its map and its points. Positions are pixels of the scene, rows downwards from the top-left corner.
// What the person does goes to the server; what is shown comes from there, so that nothing is shown that is not kept.
import { leaflet as L } from "nicegui-leaflet";

const TILE = 256;
const AT_ONCE = 3; // tiles of the map asked for together; the browser's other connections are for the image

const corner = (row, col) => L.latLng(-row, col);

// How deep positions lie in the coordinates of GeoJSON.
const DEPTHS = { LineString: 0, MultiLineString: 1, Polygon: 1, MultiPolygon: 2 };

const places = (type, coordinates) => L.GeoJSON.coordsToLatLngs(coordinates, DEPTHS[type], ([x, y]) => corner(y, x));

// Tiles of canvas that keep what they show until something newer is there.
const MapLayer = L.GridLayer.extend({
  initialize(options) {
    L.GridLayer.prototype.initialize.call(this, options);
    this.url = null;
    this.waiting = new Set();
    this.active = 0;
    this.focus = null;
    this.on("tileunload", (e) => this.drop(e.tile));
  },
  createTile(coords, done) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = TILE;
    tile.coords = coords;
    setTimeout(() => done(null, tile));
    this.want(tile);
    return tile;
  },
  want(tile) {
    if (!this.url) return;
    tile.stop?.abort();
    this.waiting.add(tile);
    this.pump();
  },
  drop(tile) {
    this.waiting.delete(tile);
    tile.stop?.abort();
  },
  show(url) {
    this.url = url;
    for (const { el } of Object.values(this._tiles)) {
      if (!url) el.getContext("2d").clearRect(0, 0, TILE, TILE);
      if (url) this.want(el);
      else this.drop(el);
    }
  },
  distance(tile) {
    if (!this.focus || !this._map) return 0;
    const scale = 2 ** tile.coords.z / TILE;
    return Math.hypot(tile.coords.y + 0.5 - this.focus.row * scale, tile.coords.x + 0.5 - this.focus.col * scale);
  },
  pump() {
    while (this.active < AT_ONCE && this.waiting.size) {
      const tile = [...this.waiting].reduce((a, b) => (this.distance(b) < this.distance(a) ? b : a));
      this.waiting.delete(tile);
      this.active += 1;
      this.load(tile).finally(() => {
        this.active -= 1;
        this.pump();
      });
    }
  },
  async load(tile) {
    tile.stop = new AbortController();
    const { x, y, z } = tile.coords;
    try {
      const answer = await fetch(this.url(-z, y, x), { signal: tile.stop.signal });
      if (answer.status !== 200) return;
      const picture = await createImageBitmap(await answer.blob());
      const context = tile.getContext("2d");
      context.clearRect(0, 0, TILE, TILE);
      context.imageSmoothingEnabled = false;
      context.drawImage(picture, 0, 0);
      window.lastMapTile = performance.now();
    } catch (error) {
      if (error.name !== "AbortError") console.warn(error);
    }
  },
});

export default {
  template: '<div class="scene-map" tabindex="0"></div>',
  props: { resourcePath: String },
  async mounted() {
    await this.$nextTick();
    const source = `${window.path_prefix || ""}${this.resourcePath}`;
    window.L = L; // where Leaflet's drawing tools look for it
    await Promise.all([
      this.loaded("link", { rel: "stylesheet", href: `${source}/leaflet/leaflet.css` }),
      this.loaded("link", { rel: "stylesheet", href: `${source}/leaflet-draw/leaflet.draw.css` }),
      this.loaded("script", { src: `${source}/leaflet-draw/leaflet.draw.js` }),
    ]);
    this.map = L.map(this.$el, {
      crs: L.CRS.Simple,
      attributionControl: false,
      doubleClickZoom: false,
      zoomControl: true,
      keyboard: false,
      fadeAnimation: false,
      boxZoom: false,
      maxBoundsViscosity: 0.5,
    });
    this.markers = new Map();
    this.shapes = new Map();
    this.classes = {};
    this.pending = L.layerGroup().addTo(this.map);
    this.hint = L.layerGroup().addTo(this.map);
    this.theirs = L.layerGroup().addTo(this.map);
    this.map.on("click", (e) => this.drawing || this.clicked(e.latlng));
    this.map.on("draw:created", (e) => this.drawn(e.layer));
    this.map.on("moveend", () => this.moved());
    this.$el.addEventListener("mousedown", () => this.$el.focus({ preventScroll: true }));
    this.map.on("mousemove", (e) => {
      if (this.layer) this.layer.focus = { row: -e.latlng.lat, col: e.latlng.lng };
    });
    this.onKey = (e) => this.pressed(e);
    window.addEventListener("keydown", this.onKey);
    new ResizeObserver(() => this.map.invalidateSize()).observe(this.$el);
    window.sceneMap = this;
    const ready = setInterval(() => {
      if (window.socket?.id === undefined) return;
      clearInterval(ready);
      this.$emit("ready");
    }, 20);
  },
  unmounted() {
    window.removeEventListener("keydown", this.onKey);
  },
  methods: {
    loaded(tag, properties) {
      return new Promise((done) => {
        document.head.append(Object.assign(document.createElement(tag), { ...properties, onload: done, onerror: done }));
      });
    },
    // scene: index, height, width; where the last view of it was, if there was one.
    scene(scene, height, width, bands) {
      if (this.index === scene && this.image) {
        this.image.setUrl(this.imageUrl(bands));
        return;
      }
      this.image?.remove();
      this.layer?.remove();
      [this.index, this.height, this.width] = [scene, height, width];
      this.views ??= {};
      const bounds = L.latLngBounds(corner(height, 0), corner(0, width));
      const least = -Math.max(0, Math.ceil(Math.log2(Math.max(height, width) / 512)));
      this.map.setMinZoom(least).setMaxZoom(5).setMaxBounds(bounds.pad(0.5));
      const tiles = { tileSize: TILE, bounds, minNativeZoom: least, maxNativeZoom: 0, minZoom: least, maxZoom: 5, noWrap: true };
      if (this.views[scene]) this.map.setView(...this.views[scene], { animate: false });
      else this.map.fitBounds(bounds, { animate: false });
      this.image = L.tileLayer(this.imageUrl(bands), { ...tiles, halvings: ({ z }) => -z, keepBuffer: 2 }).addTo(this.map);
      this.layer = new MapLayer({ ...tiles, className: "class-map", keepBuffer: 0, updateWhenZooming: false, zIndex: 2 });
      this.layer.options.opacity = this.opacity ?? 0.5;
      this.layer.addTo(this.map);
      this.pending.clearLayers();
      this.hint.clearLayers();
      this.moved();
    },
    imageUrl(bands) {
      // Leaflet counts zooms up from the scene's own pixels; the server counts halvings.
      return `/image/${this.index}/{halvings}/{y}/{x}?bands=${bands}`;
    },
    // Which fit of the head the map is to be of (0: none), in which layer; paint changes with the colours.
    fit(number, layer, paint) {
      window.lastFit = performance.now();
      const url = (halvings, y, x) => `/map/${number}/${this.index}/${halvings}/${y}/${x}?layer=${layer}&paint=${paint}`;
      this.layer?.show(number && layer !== "none" ? url : null);
    },
    opaque(value) {
      this.opacity = value;
      this.layer?.setOpacity(value);
    },
    legend(classes) {
      this.classes = Object.fromEntries(classes);
      this.dressAll();
      if (this.given) this.others(...this.given);
    },
    // [id, row, col, class] of all points of the scene.
    points(points) {
      const there = new Set(points.map(([id]) => id));
      for (const [id, marker] of this.markers) {
        if (there.has(id)) continue;
        marker.remove();
        this.markers.delete(id);
      }
      for (const [id, row, col, name] of points) {
        let marker = this.markers.get(id);
        if (!marker) {
          marker = this.marker(id);
          this.markers.set(id, marker);
        }
        marker.setLatLng(corner(row + 0.5, col + 0.5));
        marker.kind = name;
        this.dress(marker);
        if (!marker._map) marker.addTo(this.map);
      }
      this.pending.clearLayers();
    },
    marker(id) {
      const icon = L.divIcon({ className: "point", iconSize: [14, 14] });
      const marker = L.marker(corner(0, 0), { icon, draggable: true, keyboard: false });
      marker.on("click", (e) => {
        L.DomEvent.stop(e);
        this.$emit("pick", { id });
      });
      // By how far it was dragged: where it lies, Leaflet has rounded to pixels of the screen.
      let from, start;
      marker.on("dragstart", () => {
        from = marker.getLatLng();
        start = this.map.latLngToLayerPoint(from);
      });
      marker.on("dragend", () => {
        const way = this.map.latLngToLayerPoint(marker.getLatLng()).subtract(start).divideBy(2 ** this.map.getZoom());
        const [row, col] = this.pixel(L.latLng(from.lat - way.y, from.lng + way.x));
        this.$emit("drag", { id, row, col });
      });
      marker.on("add", () => this.dress(marker));
      marker.id = id;
      return marker;
    },
    dress(marker) {
      const element = marker.getElement();
      if (!element) return;
      element.style.backgroundColor = this.classes[marker.kind] ?? "transparent";
      element.classList.toggle("picked", marker.id === this.picked);
      element.dataset.id = marker.id;
      element.title = marker.kind ?? "no class yet";
    },
    // [id, type, coordinates, class] of all lines and polygons of the scene, in GeoJSON's words.
    outlines(outlines) {
      for (const shape of this.shapes.values()) shape.remove();
      this.shapes.clear();
      for (const [id, type, coordinates, name] of outlines) {
        // Without a fill, so that points can be placed within; and with a wider line to click on, which is not seen.
        const make = type.endsWith("Polygon") ? L.polygon : L.polyline;
        const line = make(places(type, coordinates), { fill: false, className: "outline", interactive: false });
        const grip = make(places(type, coordinates), { fill: false, className: "grip", weight: 12, opacity: 0, bubblingMouseEvents: false });
        grip.on("click", () => this.drawing || this.$emit("pick", { id }));
        const shape = Object.assign(L.featureGroup([line, grip]), { id, kind: name, line });
        this.shapes.set(id, shape.addTo(this.map));
        this.dressShape(shape);
      }
    },
    // Labels of other people, which nothing picks and clicks go through: points [row, col, class], outlines as above.
    others(points, outlines) {
      this.theirs.clearLayers();
      this.given = [points, outlines];
      for (const [row, col, name] of points) {
        const icon = L.divIcon({ className: "other", iconSize: [14, 14] });
        const marker = L.marker(corner(row + 0.5, col + 0.5), { icon, interactive: false });
        marker.on("add", () => (marker.getElement().style.borderColor = this.classes[name] ?? "white"));
        marker.addTo(this.theirs);
      }
      for (const [type, coordinates, name] of outlines) {
        const make = type.endsWith("Polygon") ? L.polygon : L.polyline;
        const style = { color: this.classes[name] ?? "white", weight: 3, dashArray: "2 6", fill: false, className: "theirs" };
        make(places(type, coordinates), { ...style, interactive: false }).addTo(this.theirs);
      }
    },
    dressShape({ id, kind, line }) {
      const picked = id === this.picked;
      line.setStyle({ color: this.classes[kind] ?? "white", weight: picked ? 7 : 4, dashArray: kind ? null : "6" });
      line.getElement().classList.toggle("picked", picked);
      line.getElement().dataset.id = id;
    },
    dressAll() {
      for (const marker of this.markers.values()) this.dress(marker);
      for (const shape of this.shapes.values()) this.dressShape(shape);
    },
    pick(id) {
      this.picked = id;
      this.dressAll();
    },
    // What clicks make: a point, or the corners of a line or polygon, one shape after the other.
    tool(tool) {
      this.drawing?.disable();
      this.drawing = null;
      if (tool === "point") return;
      const options = { allowIntersection: tool === "line", showLength: false, repeatMode: true };
      const style = { color: "yellow", weight: 3, fill: false };
      const Tool = tool === "line" ? L.Draw.Polyline : L.Draw.Polygon;
      this.drawing = new Tool(this.map, { ...options, shapeOptions: style });
      this.drawing.enable();
    },
    drawn(shape) {
      const closed = shape instanceof L.Polygon;
      const corners = closed ? shape.getLatLngs()[0] : shape.getLatLngs();
      this.$emit("draw", { closed, vertices: corners.map(({ lat, lng }) => [-lat, lng]) });
    },
    // A key while something is drawn; whether that was all it means.
    pressedDrawing(key) {
      const begun = this.drawing?._markers?.length;
      if (key === "escape" && this.drawing) this.$emit("tool", { tool: begun ? this.restarted() : "point" });
      else if (key === "backspace" && begun) this.drawing.deleteLastVertex();
      else if (key === "enter" && begun) this.drawing.completeShape();
      else return false;
      return true;
    },
    restarted() {
      const tool = this.drawing instanceof L.Draw.Polygon ? "polygon" : "line";
      this.tool(tool);
      return tool;
    },
    suggest(row, col) {
      this.hint.clearLayers();
      if (row === null) return;
      const icon = L.divIcon({ className: "suggested", iconSize: [30, 30] });
      L.marker(corner(row + 0.5, col + 0.5), { icon, interactive: false }).addTo(this.hint);
    },
    go(row, col) {
      this.map.setView(corner(row + 0.5, col + 0.5), Math.max(this.map.getZoom(), 0), { animate: false });
    },
    failed() {
      this.pending.clearLayers();
    },
    pixel(at) {
      return [Math.floor(-at.lat), Math.floor(at.lng)];
    },
    clicked(at) {
      const [row, col] = this.pixel(at);
      if (row < 0 || col < 0 || row >= this.height || col >= this.width) return;
      this.layer.focus = { row, col };
      window.lastClick = performance.now();
      const icon = L.divIcon({ className: "pending", iconSize: [14, 14] });
      L.marker(corner(row + 0.5, col + 0.5), { icon, interactive: false }).addTo(this.pending);
      this.$emit("place", { row, col });
    },
    moved() {
      if (this.index === undefined || !this.map._loaded) return;
      this.views[this.index] = [this.map.getCenter(), this.map.getZoom()];
      const seen = this.map.getBounds();
      const within = (value, most) => Math.min(Math.max(Math.floor(value), 0), most - 1);
      const row = within(-seen.getNorth(), this.height);
      const col = within(seen.getWest(), this.width);
      const bottom = within(-seen.getSouth(), this.height);
      const right = within(seen.getEast(), this.width);
      this.$emit("view", { row, col, height: bottom - row + 1, width: right - col + 1, zoom: this.map.getZoom() });
    },
    pressed(e) {
      const text = /^(INPUT|TEXTAREA)$/.test(e.target.tagName) && !/^(range|color|checkbox|button)$/.test(e.target.type);
      const typing = text && !e.target.readOnly;
      if (typing || e.altKey || e.target.isContentEditable) return;
      const key = e.key.toLowerCase();
      if (this.pressedDrawing(key)) return;
      const named = ["n", "z", "y", "m", "c", "l", "p", "delete", "backspace", "escape"];
      const known = /^[1-9]$/.test(key) || named.includes(key);
      if (!known || ((e.ctrlKey || e.metaKey) && !["z", "y"].includes(key))) return;
      e.preventDefault();
      this.$emit("key", { key: e.shiftKey && key === "z" ? "y" : key });
    },
  },
};
