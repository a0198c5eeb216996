export default {
  resolve: { dedupe: ['@grafana/data', '@grafana/schema', 'react', 'react-dom'] },
  esbuild: { jsx: 'automatic' },
  build: { target: 'esnext', minify: false, chunkSizeWarningLimit: 20000 },
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}' },
};
