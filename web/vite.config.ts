import { defineConfig } from "vite";

// The bundle is committed, so that it must be the same on every machine: no source maps with
// paths, and names by content alone.
export default defineConfig({
  base: "/",
  publicDir: false,
  build: {
    outDir: "../api/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  // For work on the page: `npx vite` beside a `quire up`.
  server: { proxy: { "/v1": "http://127.0.0.1:8420", "/openapi.json": "http://127.0.0.1:8420" } },
});
